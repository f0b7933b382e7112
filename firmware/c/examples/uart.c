/* The line of the driver over the UART of a microcontroller, without an operating system and without interrupts.
 *
 * Give the addresses of its registers and the bits of its status, and a counter of milliseconds:
 *
 *     -DUART_DATA=0x40004000 -DUART_STATUS=0x40004004 -DUART_RECEIVED=1 -DUART_CAN_SEND=2 -DMILLISECONDS=0x40001000
 *
 * What is received while an image is sent is kept in a ring, which the loop that sends fills as well. Between calls of
 * the driver nobody reads the UART: a result that comes then is lost and repeated, which costs STERNA's silence. Call
 * sterna_result at once, or fill the ring from the UART's interrupt: keep_received() is its handler.
 */
#include "sterna.h"

#ifndef UART_DATA
#error "UART_DATA must be the address of the data register, and UART_STATUS that of the status register"
#endif
/* Bits of the status register: a byte has been received; a byte can be sent. */
#ifndef UART_RECEIVED
#define UART_RECEIVED 1u
#endif
#ifndef UART_CAN_SEND
#define UART_CAN_SEND 2u
#endif
/* Bytes that are received while an image is sent: a power of two, more than two results of ten classes. */
#define RING_BYTES 256u

/* A test puts something else in the place of registers. */
#ifndef REGISTER
#define REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))
#endif

static volatile uint8_t ring[RING_BYTES];
static volatile uint32_t ring_in, ring_out;

static void keep_received(void)
{
    while (REGISTER(UART_STATUS) & UART_RECEIVED) {
        uint8_t byte = (uint8_t)REGISTER(UART_DATA);
        if (ring_in - ring_out < RING_BYTES)
            ring[ring_in++ % RING_BYTES] = byte;
    }
}

static uint32_t line_clock_ms(void *context)
{
    (void)context;
    return REGISTER(MILLISECONDS);
}

static bool line_write(void *context, const uint8_t *data, size_t size)
{
    (void)context;
    while (size > 0) {
        keep_received();
        if (REGISTER(UART_STATUS) & UART_CAN_SEND) {
            REGISTER(UART_DATA) = *data++;
            size--;
        }
    }
    return true;
}

static int line_read(void *context, uint32_t timeout_ms)
{
    const uint32_t begun = line_clock_ms(context);
    do {
        keep_received();
        if (ring_out != ring_in)
            return ring[ring_out++ % RING_BYTES];
    } while (line_clock_ms(context) - begun <= timeout_ms);
    return STERNA_NO_ANSWER;
}

static const struct sterna_line line = {NULL, line_write, line_read, line_clock_ms};

/* Classifies one image; returns its class, or what has gone wrong as a negative number: an error of the driver, or
 * -100 less the device's refusal. */
int classify(const uint8_t *image, size_t size)
{
    static struct sterna device;
    static bool known;
    struct sterna_inference inference;
    int status = STERNA_OK;

    if (!known) {
        /* The counter runs from power-on; a random number or a counter in memory that is kept would be better. */
        sterna_init(&device, &line, (uint8_t)line_clock_ms(NULL));
        status = sterna_info(&device);
        known = status == STERNA_OK;
    }
    if (status == STERNA_OK)
        status = sterna_classify(&device, image, size);
    if (status == STERNA_OK)
        status = sterna_result(&device, &inference, NULL, 0);
    if (status == STERNA_OK)
        return (int)inference.label;
    return status < 0 ? status : -100 - status;
}
