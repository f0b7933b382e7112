/* The driver in a process of its own: the test is its caller and its line, through stdin and stdout.
 *
 * A command from the test is a letter and its arguments; it is answered with 'd', the status, and what the function has
 * returned. Before that, calls of the line's functions are passed on: 'w' with what is sent, answered with a byte, and
 * 'r' with size and timeout, answered with count, elapsed milliseconds, and the bytes. Integers have 32 bits. Images
 * and scores are allocated in their exact size, so that the sanitizers notice a byte beyond.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sterna.h"

static uint32_t milliseconds;

/* What was read from the line and not given to the driver yet. */
static uint8_t buffer[32];
static int used, filled;

static void take(void *data, size_t size)
{
    if (fread(data, 1, size, stdin) != size)
        exit(0);
}

static uint32_t take_number(void)
{
    uint32_t number;
    take(&number, sizeof number);
    return number;
}

static void give(const void *data, size_t size)
{
    fwrite(data, 1, size, stdout);
}

static void give_number(uint32_t number)
{
    give(&number, sizeof number);
}

static bool line_write(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    putchar('w');
    give_number((uint32_t)size);
    if (size > 0)
        give(data, size);
    fflush(stdout);
    char done;
    take(&done, 1);
    return done;
}

static int line_read(void *context, uint32_t timeout_ms)
{
    (void)context;
    if (used == filled) {
        putchar('r');
        give_number(sizeof buffer);
        give_number(timeout_ms);
        fflush(stdout);
        used = filled = 0;
        int count = (int)take_number();
        milliseconds += take_number();
        if (count <= 0)
            return count < 0 ? STERNA_LINE_FAILED : STERNA_NO_ANSWER;
        take(buffer, (size_t)count);
        filled = count;
    }
    return buffer[used++];
}

static uint32_t line_clock(void *context)
{
    (void)context;
    return milliseconds;
}

static const struct sterna_line line = {NULL, line_write, line_read, line_clock};

static void give_network(int status, const struct sterna *device)
{
    putchar('d');
    give_number((uint32_t)status);
    if (status == STERNA_OK)
        give(&device->network, sizeof device->network);
}

int main(void)
{
    struct sterna device;
    struct sterna_inference inference;
    uint8_t *images[STERNA_WINDOW] = {NULL, NULL};
    int newest = 0;

    give_number(sizeof device.network);
    fflush(stdout);
    for (;;) {
        int command = getchar();
        switch (command) {
        case 'N': /* new session: first tag, timeout, silence, retries, time of the clock */
            /* What the memory held before must not matter. */
            memset(&device, 0xEE, sizeof device);
            used = filled = 0;
            sterna_init(&device, &line, (uint8_t)take_number());
            device.timeout_ms = take_number();
            device.silence_ms = take_number();
            device.retries = (uint8_t)take_number();
            milliseconds = take_number();
            putchar('d');
            give_number(STERNA_OK);
            break;
        case 'I':
            give_network(sterna_info(&device), &device);
            break;
        case 'S': {
            uint8_t model = (uint8_t)take_number();
            give_network(sterna_select(&device, model), &device);
            break;
        }
        case 'C': { /* size and image */
            size_t size = take_number();
            uint8_t *image = malloc(size > 0 ? size : 1);
            take(image, size);
            int status = sterna_classify(&device, image, size);
            if (status == STERNA_OK) {
                newest = 1 - newest;
                free(images[newest]);
                images[newest] = image;
            } else {
                free(image);
            }
            putchar('d');
            give_number((uint32_t)status);
            break;
        }
        case 'R': { /* room for scores; none without any */
            size_t room = take_number();
            int32_t *scores = room > 0 ? malloc(room * sizeof *scores) : NULL;
            int status = sterna_result(&device, &inference, scores, room);
            putchar('d');
            give_number((uint32_t)status);
            if (status == STERNA_OK) {
                give(&inference, sizeof inference);
                if (room > 0)
                    give(scores, room * sizeof *scores);
            }
            free(scores);
            break;
        }
        case 'P': /* faults of the line */
            putchar('d');
            give_number(device.faults);
            break;
        default:
            free(images[0]);
            free(images[1]);
            return 0;
        }
        fflush(stdout);
    }
}
