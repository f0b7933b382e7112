/* Classifies images over a serial port or a pseudo-terminal of Linux:
 *
 *     cc -std=c99 -O2 -I firmware/c firmware/c/sterna.c firmware/c/examples/linux.c -o classify
 *     ./classify /dev/ttyUSB1 3000000 seven.raw
 *     ./classify /dev/ttyUSB1 3000000 @1 seven.raw
 *
 * First it prints what the device computes, and the faults of the line that the device has counted. A name that begins
 * with @ is the number of a model in the flash of an overlay, which is selected. Each other name is that of a file with
 * one image: its bytes in the order row, column, channel. While one is computed, the next one is sent.
 */
#define _DEFAULT_SOURCE
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sterna.h"

/* An answer is given up after that long: a simulated board is slower than a real one. */
#define TIMEOUT_MS 10000

struct port {
    int file;
    /* What was received and not given to the driver yet. */
    uint8_t buffer[512];
    size_t used, filled;
};

static bool line_write(void *context, const uint8_t *data, size_t size)
{
    const struct port *port = context;
    while (size > 0) {
        ssize_t written = write(port->file, data, size);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return true;
}

static int line_read(void *context, uint32_t timeout_ms)
{
    struct port *port = context;
    if (port->used == port->filled) {
        struct pollfd wait = {port->file, POLLIN, 0};
        int ready = poll(&wait, 1, (int)timeout_ms);
        if (ready <= 0)
            return ready == 0 || errno == EINTR ? STERNA_NO_ANSWER : STERNA_LINE_FAILED;
        ssize_t count = read(port->file, port->buffer, sizeof port->buffer);
        if (count <= 0)
            /* Nothing to read from a port that is ready: it was unplugged. */
            return STERNA_LINE_FAILED;
        port->used = 0;
        port->filled = (size_t)count;
    }
    return port->buffer[port->used++];
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
    case STERNA_REFUSED_UNKNOWN_COMMAND: return "its network is part of the bitstream, there is none to select";
    case STERNA_REFUSED_BUSY: return "the device is busy: end the other programs that use it";
    case STERNA_REFUSED_NO_MODEL: return "the flash has no model of this number, or none was selected: name one, @0";
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

/* Opens a port as a line of bytes at `baud`; returns it, or -1. The calls that POSIX has for this know no rate beyond 4
 * Mbaud, so these are those of Linux. */
static int open_port(const char *name, unsigned baud)
{
    struct termios2 settings;
    int port = open(name, O_RDWR | O_NOCTTY);
    if (port < 0)
        return -1;
    if (ioctl(port, TCGETS2, &settings) == 0) {
        settings.c_iflag = 0;
        settings.c_oflag = 0;
        settings.c_lflag = 0;
        settings.c_cflag = CS8 | CREAD | CLOCAL | BOTHER | BOTHER << IBSHIFT;
        settings.c_ispeed = settings.c_ospeed = baud;
        settings.c_cc[VMIN] = 1;
        settings.c_cc[VTIME] = 0;
        /* A driver that has not this rate chooses another, and says so. */
        if (ioctl(port, TCSETS2, &settings) == 0 && ioctl(port, TCGETS2, &settings) == 0 &&
            ioctl(port, TCFLSH, TCIOFLUSH) == 0) {
            if (settings.c_ospeed == baud)
                return port;
            errno = ERANGE;
        }
    }
    int error = errno;
    close(port);
    errno = error;
    return -1;
}

/* Reads a number that has digits only and is at most `most`; returns whether it is one. */
static bool read_number(const char *text, unsigned long most, unsigned long *number)
{
    *number = 0;
    for (const char *next = text; *next != 0; next++) {
        if (*next < '0' || *next > '9')
            return false;
        *number = 10 * *number + (unsigned long)(*next - '0');
        if (*number > most)
            return false;
    }
    return *text != 0;
}

/* Reads a file of up to STERNA_MAX_IMAGE_BYTES bytes to `image`, and its size, one more if it is longer; returns why it
 * cannot, or NULL. */
static const char *read_image(const char *name, uint8_t *image, size_t *size)
{
    struct stat about;
    /* A named pipe would wait for who writes to it. */
    int file = open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (file < 0)
        return strerror(errno);
    const char *reason = fstat(file, &about) != 0 ? strerror(errno) :
                         S_ISREG(about.st_mode)   ? NULL :
                                                    "an image must be in a regular file";
    for (*size = 0; reason == NULL && *size < STERNA_MAX_IMAGE_BYTES + 1;) {
        ssize_t count = read(file, image + *size, STERNA_MAX_IMAGE_BYTES + 1 - *size);
        if (count == 0)
            break;
        if (count > 0)
            *size += (size_t)count;
        else if (errno != EINTR)
            reason = strerror(errno);
    }
    close(file);
    return reason;
}

/* Opens what is closed of the standard streams, so that no port takes the place of one: such a stream cannot be written
 * to. */
static void keep_standard_streams(void)
{
    int file;
    do
        file = open("/dev/null", O_RDONLY);
    while (file >= 0 && file <= STDERR_FILENO);
    if (file >= 0)
        close(file);
}

static void print_network(const struct sterna_network *network)
{
    printf("%s: images %u x %u x %u, %u classes, %lu kHz; faults of the line: %u bad frames, %u overruns, "
           "%u aborted frames\n",
           network->name, network->image_height, network->image_width, network->channels, network->classes,
           (unsigned long)network->clock_khz, network->bad_frames, network->overruns, network->aborted_frames);
}

/* Waits for a result and prints it. */
static int print_result(struct sterna *device, const char *name)
{
    static int32_t scores[STERNA_MAX_CLASSES];
    struct sterna_inference inference;
    int status = sterna_result(device, &inference, scores, STERNA_MAX_CLASSES);
    if (status != STERNA_OK)
        return fail(name, reason_of(status));
    printf("%s: class %lu, %lu clocks, %lu stalls, %lu flash stalls, scores", name, (unsigned long)inference.label,
           (unsigned long)inference.cycles, (unsigned long)inference.stalls, (unsigned long)inference.flash_stalls);
    for (uint16_t class = 0; class < device->network.classes; class++)
        printf(" %ld", (long)scores[class]);
    printf("\n");
    return 0;
}

/* Classifies the images of files; returns the exit status. */
static int classify(struct sterna *device, int count, char **names)
{
    static uint8_t images[STERNA_WINDOW][STERNA_MAX_IMAGE_BYTES + 1];
    for (int index = 0; index < count; index++) {
        uint8_t *image = images[index % STERNA_WINDOW];
        size_t size = 0;
        const char *reason = read_image(names[index], image, &size);
        if (reason == NULL) {
            int status = sterna_classify(device, image, size);
            if (status != STERNA_OK)
                reason = reason_of(status);
        }
        /* The image before has its result whatever is wrong with this one, unless the port failed. */
        if (index > 0 && device->waiting > 0 && print_result(device, names[index - 1]) != 0)
            return 1;
        if (reason != NULL)
            return fail(names[index], reason);
    }
    return count > 0 ? print_result(device, names[count - 1]) : 0;
}

int main(int count, char **names)
{
    struct sterna device;
    struct port port = {.used = 0};
    unsigned long baud, model = 0;

    keep_standard_streams();
    if (count < 3) {
        fprintf(stderr, "usage: %s PORT BAUD [@MODEL] [IMAGE...]\n", names[0]);
        return 2;
    }
    if (!read_number(names[2], 12000000, &baud) || (baud != 1000000 && baud != 3000000 && baud != 12000000))
        return fail(names[2], "baud must be 1000000, 3000000 or 12000000");
    int first = 3;
    if (count > 3 && names[3][0] == '@') {
        if (!read_number(names[3] + 1, 255, &model))
            return fail(names[3], "model must be @ and a number from 0 to 255");
        first = 4;
    }
    port.file = open_port(names[1], (unsigned)baud);
    if (port.file < 0)
        return fail(names[1], errno == ERANGE ? "the port does not run at this rate" : strerror(errno));
    struct sterna_line line = {&port, line_write, line_read, line_clock_ms};

    sterna_init(&device, &line, (uint8_t)((uint32_t)getpid() ^ line_clock_ms(NULL)));
    device.timeout_ms = TIMEOUT_MS;
    int status = first == 4 ? sterna_select(&device, (uint8_t)model) : sterna_info(&device);
    if (status != STERNA_OK)
        return fail(names[first == 4 ? 3 : 1], reason_of(status));
    print_network(&device.network);
    status = classify(&device, count - first, names + first);
    close(port.file);
    if (fflush(stdout) != 0 || ferror(stdout))
        return status != 0 ? status : fail("standard output", "results were lost: see that it can be written to");
    return status;
}
