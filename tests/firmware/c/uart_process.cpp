/* The example for a microcontroller in a process of its own: in C++, where a register can be an object whose reading and
 * writing are functions. The test is the other end of the UART, through stdin and stdout.
 *
 * Commands are answered with 'd' and a status, or a label: 'C', size and image: classify(); 'P', count, size and images:
 * all of them with two on their way, then their labels. Before that, 'w' and a byte are answered with the bytes that have
 * arrived meanwhile, as a number and themselves, and 't', a millisecond that passes, is answered in the same way.
 */
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

#include "sterna.h"

static std::deque<uint8_t> received;
static uint32_t milliseconds, lost;
/* Bytes that the UART keeps by itself. */
static const size_t FIFO_BYTES = 16;

static void take(void *data, size_t size)
{
    if (fread(data, 1, size, stdin) != size)
        exit(0);
}

static uint32_t take_number()
{
    uint32_t number;
    take(&number, sizeof number);
    return number;
}

static void give_number(uint32_t number)
{
    fwrite(&number, sizeof number, 1, stdout);
}

/* Lets the other end go on, and takes what arrives. */
static void arrive()
{
    fflush(stdout);
    for (uint32_t left = take_number(); left > 0; left--) {
        uint8_t byte;
        take(&byte, 1);
        if (received.size() < FIFO_BYTES)
            received.push_back(byte);
        else
            lost++;
    }
}

enum { DATA, STATUS, TIME };

class Register {
public:
    explicit Register(int number) : number(number) {}

    operator uint32_t() const
    {
        if (number == TIME) {
            putchar('t');
            arrive();
            return milliseconds++;
        }
        if (number == STATUS)
            return received.empty() ? 2 : 3;
        uint8_t byte = received.front();
        received.pop_front();
        return byte;
    }

    void operator=(uint32_t byte)
    {
        putchar('w');
        putchar((int)byte);
        arrive();
    }

private:
    int number;
};

#define UART_DATA DATA
#define UART_STATUS STATUS
#define MILLISECONDS TIME
#define REGISTER(number) (Register(number))
#include "examples/uart.c"

static int pipeline(const std::vector<uint8_t> &images, uint32_t count, uint32_t size, std::vector<uint32_t> &labels)
{
    struct sterna device;
    struct sterna_inference inference;
    sterna_init(&device, &line, 7);
    int status = sterna_info(&device);
    for (uint32_t sent = 0, done = 0; status == STERNA_OK && done < count; done++) {
        for (; status == STERNA_OK && sent < count && sent < done + STERNA_WINDOW; sent++)
            status = sterna_classify(&device, &images[sent * size], size);
        if (status == STERNA_OK)
            status = sterna_result(&device, &inference, NULL, 0);
        labels.push_back(inference.label);
    }
    labels.resize(count);
    return status == STERNA_OK ? (int)device.faults : status;
}

int main()
{
    for (;;) {
        int command = getchar();
        if (command != 'C' && command != 'P')
            return lost > 0;
        uint32_t count = command == 'P' ? take_number() : 1;
        uint32_t size = take_number();
        std::vector<uint8_t> images(count * size);
        take(&images[0], images.size());
        std::vector<uint32_t> labels;
        int status = command == 'C' ? classify(&images[0], size) : pipeline(images, count, size, labels);
        putchar('d');
        give_number((uint32_t)status);
        for (uint32_t label : labels)
            give_number(label);
        fflush(stdout);
    }
}
