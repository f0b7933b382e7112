/* Classifies images over a serial port or a pseudo-terminal of Linux:
 *
 *     cc -std=c99 -O2 -I firmware/c firmware/c/sterna.c firmware/c/examples/linux.c -o classify
 *     ./classify /dev/ttyUSB1 3000000 IMAGE...
 *
 * Each file holds one image: its bytes in the order row, column, channel. While one is computed, the next one is sent.
 */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "sterna.h"

/* An answer is given up after that long: a simulated board is slower than a real one. */
#define TIMEOUT_MS 10000

static bool line_write(void *context, const uint8_t *data, size_t size)
{
    const int port = *(const int *)context;
    while (size > 0) {
        ssize_t written = write(port, data, size);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return true;
}

static int line_read(void *context, uint8_t *data, size_t size, uint32_t timeout_ms)
{
    struct pollfd port = {*(const int *)context, POLLIN, 0};
    int ready = poll(&port, 1, (int)timeout_ms);
    if (ready <= 0)
        return ready == 0 || errno == EINTR ? 0 : -1;
    ssize_t count = read(port.fd, data, size);
    /* Nothing to read from a port that is ready: it was unplugged. */
    return count > 0 ? (int)count : -1;
}

static uint32_t line_clock_ms(void *context)
{
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_sec * 1000u + (uint32_t)(now.tv_nsec / 1000000);
}

static const char *reason_of(int status)
{
    switch (status) {
    case STERNA_NO_ANSWER: return "no valid answer: see that port and baud are those of the board";
    case STERNA_LINE_FAILED: return "the port failed: see that the board is plugged in";
    case STERNA_NOISE: return "the device does not stop sending: see that the baud is that of the board";
    case STERNA_OTHER_VERSION: return "the device speaks another version: use bitstream and driver of one release";
    case STERNA_MALFORMED: return "the device answers what no accelerator answers";
    case STERNA_REFUSED_WRONG_LENGTH: return "the file has not the size of an image";
    case STERNA_REFUSED_BUSY: return "the device is busy: end the other programs that use it";
    case STERNA_REFUSED_NO_MODEL: return "no model is selected";
    case STERNA_REFUSED_WRONG_MODEL: return "the model in its flash was made for another circuit";
    case STERNA_REFUSED_DAMAGED: return "the model in its flash is damaged";
    case STERNA_REFUSED_FLASH: return "its flash does not answer";
    default: return "the device refuses the request";
    }
}

static int fail(const char *what, const char *reason)
{
    fflush(stdout);
    fprintf(stderr, "ERROR: %s: %s\n", what, reason);
    return 1;
}

/* Opens a port as a line of bytes, at `baud` where it is a serial port; returns it, or -1. */
static int open_port(const char *name, long baud)
{
    const speed_t speed = baud == 1000000 ? B1000000 : B3000000;
    struct termios settings;
    int port = open(name, O_RDWR | O_NOCTTY);
    if (port < 0)
        return -1;
    if (tcgetattr(port, &settings) == 0) {
        cfmakeraw(&settings);
        if (cfsetspeed(&settings, speed) == 0 && tcsetattr(port, TCSANOW, &settings) == 0 &&
            tcflush(port, TCIOFLUSH) == 0)
            return port;
    }
    close(port);
    return -1;
}

/* Reads a file of up to STERNA_MAX_IMAGE_BYTES bytes to `image`; returns its size, one more if it is longer, or -1. */
static long read_image(const char *name, uint8_t *image)
{
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        return -1;
    size_t size = fread(image, 1, STERNA_MAX_IMAGE_BYTES + 1, file);
    bool failed = ferror(file) != 0;
    fclose(file);
    return failed ? -1 : (long)size;
}

/* Waits for a result and prints it. */
static int print_result(struct sterna *device, const char *name, int32_t *scores, uint16_t classes)
{
    struct sterna_inference inference;
    int status = sterna_result(device, &inference, scores, classes);
    if (status != STERNA_OK)
        return fail(name, reason_of(status));
    printf("%s: class %lu, %lu clocks, %lu stalls, scores", name, (unsigned long)inference.label,
           (unsigned long)inference.cycles, (unsigned long)inference.stalls);
    for (uint16_t class = 0; class < classes; class++)
        printf(" %ld", (long)scores[class]);
    printf("\n");
    return 0;
}

int main(int count, char **names)
{
    static uint8_t images[STERNA_WINDOW][STERNA_MAX_IMAGE_BYTES + 1];
    static int32_t scores[STERNA_MAX_CLASSES];
    struct sterna device;
    struct sterna_network network;

    if (count < 4) {
        fprintf(stderr, "usage: %s PORT BAUD IMAGE...\n", names[0]);
        return 2;
    }
    const long baud = strtol(names[2], NULL, 10);
    if (baud != 1000000 && baud != 3000000)
        return fail(names[2], "baud must be 1000000 or 3000000");
    int port = open_port(names[1], baud);
    if (port < 0)
        return fail(names[1], strerror(errno));
    struct sterna_line line = {&port, line_write, line_read, line_clock_ms};

    sterna_init(&device, &line, (uint8_t)((uint32_t)getpid() ^ line_clock_ms(NULL)));
    device.timeout_ms = TIMEOUT_MS;
    int status = sterna_info(&device, &network);
    if (status != STERNA_OK)
        return fail(names[1], reason_of(status));
    for (int index = 3; index < count; index++) {
        uint8_t *image = images[index % STERNA_WINDOW];
        long size = read_image(names[index], image);
        if (size < 0)
            return fail(names[index], strerror(errno));
        status = sterna_classify(&device, image, (size_t)size);
        if (status != STERNA_OK)
            return fail(names[index], reason_of(status));
        if (index > 3 && print_result(&device, names[index - 1], scores, network.classes) != 0)
            return 1;
    }
    status = print_result(&device, names[count - 1], scores, network.classes);
    close(port);
    return status;
}
