/* Driver of the Sterna accelerator, for a microcontroller or any other computer on the other end of its UART.
 *
 * Freestanding C99: no library, no allocation, no globals. The caller gives a line (three functions) and keeps all
 * memory; images are sent from where they lie, and scores are written to where they are wanted. The protocol is that
 * of docs/formats.md, and docs/c-driver.md has examples and says how to port the driver.
 *
 *     struct sterna device;
 *     struct sterna_inference inference;
 *
 *     sterna_init(&device, &line, tag);
 *     status = sterna_info(&device);  // fills device.network
 *     status = sterna_classify(&device, first, device.network.image_bytes);
 *     status = sterna_classify(&device, second, device.network.image_bytes);  // arrives while the first is computed
 *     status = sterna_result(&device, &inference, scores, device.network.classes);  // of the first
 *     status = sterna_result(&device, &inference, scores, device.network.classes);  // of the second
 *
 * Every function returns STERNA_OK, an error below 0 (enum sterna_error), or what the device answered in place of a
 * result, above 0 (enum sterna_refusal). What the line corrupts is repeated; a result is right or is not returned.
 * One device is used by one thread at a time.
 */
#ifndef STERNA_H
#define STERNA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sterna_link.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Images that may be on their way: one is computed while the next one arrives. */
#define STERNA_WINDOW 2

enum sterna_error {
    STERNA_OK = 0,
    /* No valid answer in any attempt: see that the line and its rate are those of the board. */
    STERNA_NO_ANSWER = -1,
    /* A function of the line has failed. */
    STERNA_LINE_FAILED = -2,
    /* The line does not become silent: its rate is wrong, or another program uses the device. */
    STERNA_NOISE = -3,
    /* The device speaks another version of the protocol: use a driver and a bitstream of one release. */
    STERNA_OTHER_VERSION = -4,
    /* An answer is whole and says what no device of this protocol says. */
    STERNA_MALFORMED = -5,
    /* The function may not be called now, or not with this argument: its comment says when. */
    STERNA_WRONG_USE = -6
};

/* The line to the device. Only this structure knows the hardware. */
struct sterna_line {
    /* Given to each of the functions. */
    void *context;
    /* Sends `size` bytes, without pauses of STERNA_TIMEOUT_BITS bit times; false if that failed. What is received
     * meanwhile must be kept for `read`: up to two results, of 4 * (4 + classes) + 7 bytes each. */
    bool (*write)(void *context, const uint8_t *data, size_t size);
    /* Returns the next byte, from 0 to 255, STERNA_NO_ANSWER if none has come in `timeout_ms`, or STERNA_LINE_FAILED,
     * and no other value. */
    int (*read)(void *context, uint32_t timeout_ms);
    /* Milliseconds since any moment; 0 follows 2^32 - 1. */
    uint32_t (*clock_ms)(void *context);
};

/* What a device computes, and how well the line works: the reply INFO, as it comes but for the end of the name. */
struct sterna_network {
    uint32_t magic;
    uint8_t version;
    /* Synapses that the circuit adds in a clock: `lanes` output channels, `width` synapses and `circuit_timesteps`
     * timesteps side by side. */
    uint8_t lanes, width, circuit_timesteps;
    /* Meaning of the bytes of an image: enum sterna_encoding. */
    uint8_t encoding;
    /* Shape of an image, whose bytes are in the order row, column, channel. */
    uint8_t channels;
    uint16_t image_height, image_width;
    /* Scores of a result. */
    uint16_t classes;
    /* Clock of the accelerator in kHz. */
    uint32_t clock_khz;
    /* First bytes of the SHA-256 of the network's file. */
    uint8_t digest[STERNA_DIGEST_BYTES];
    /* Timesteps of the network; of events, frames of an image, bit t of a byte that of timestep t. */
    uint8_t timesteps;
    uint8_t reserved[3];
    /* Name of the network in UTF-8, with a zero at its end. */
    char name[STERNA_NAME_BYTES + 1];
    /* Faults of the line that the device has seen since its reset, each up to STERNA_MAX_COUNT: frames with a bad CRC,
     * images whose pixels came too fast, and frames that were given up after a silence. */
    uint8_t bad_frames, overruns, aborted_frames;
    /* Bytes of an image: height * width * channels. */
    uint16_t image_bytes;
};

/* A request of which the answer has not come; for the driver only. */
struct sterna_request {
    const uint8_t *payload;
    /* The tag under which it was sent, or one of the values below. */
    int16_t tag;
};
/* In place of a tag: the request is to be sent; the device had no room for it. */
#define STERNA_UNSENT (-1)
#define STERNA_NO_ROOM (-2)

/* A device. After sterna_init the first three members may be changed, and the last two may be read; those between are
 * for the driver only. */
struct sterna {
    /* Without a byte for that long, an answer is given up. Longer than an image and an inference, up to 2^27: 1,000. */
    uint32_t timeout_ms;
    /* The line is silent for that long before the first request and after a fault. Longer than STERNA_TIMEOUT_BITS bit
     * times, and than a bridge on the line keeps bytes: 100. */
    uint32_t silence_ms;
    /* How often requests are repeated while one answer is waited for: 3. */
    uint8_t retries;

    /* Images that may be on their way, and that are. The first is 0 while only one is sent, as its answer may be one to
     * another session. */
    uint8_t window, waiting;
    /* The header of the frames that are sent: the requests that wait differ in nothing but the tag and the payload. */
    uint8_t frame[STERNA_HEADER_BYTES];
    uint16_t size;
    struct sterna_request requests[STERNA_WINDOW];
    /* The payload of a SELECT. */
    uint8_t model;
    /* The reply that is waited for, and the bytes that it has at most; its first bytes go to `head`, the others to
     * `rest` unless that is NULL. */
    uint8_t reply;
    uint16_t max_bytes;
    uint8_t *head, *head_end, *rest;
    /* Of what is received: since when, the last four bytes that may be a header, bytes of the frame that are still to
     * come, where the next one goes, and the CRC so far. */
    uint32_t begun_ms, header, left;
    uint8_t *to;
    uint32_t crc;
    /* By how much longer than `silence_ms` the line must be silent before anything else; 0 if it need not be silent. */
    uint32_t due_ms;
    const struct sterna_line *line;

    /* Faults of the line so far, each of which had requests repeated, or given up after the last attempt. */
    uint32_t faults;
    /* After sterna_info and sterna_select: what the device computes. */
    struct sterna_network network;
};

/* A result, beside its scores. */
struct sterna_inference {
    /* Index of the highest score, the lowest on a tie. */
    uint32_t label;
    /* Clocks from the last pixel to the class. */
    uint32_t cycles;
    /* Clocks in which the engine stood still because a pixel of another image was written. */
    uint32_t stalls;
    /* Clocks in which it waited for the flash; 0 where the weights are in the bitstream. */
    uint32_t flash_stalls;
};

/* Begins a session. Nothing is sent. `line` must live as long as the device. `first_tag` should differ from session to
 * session (a random number, a counter that survives a reset, noise of an ADC), so that answers of a session that ended
 * in the middle are told from those of this one. */
void sterna_init(struct sterna *device, const struct sterna_line *line, uint8_t first_tag);

/* Asks what the device computes, and how many faults it has seen: device->network. Not while images are on their way.
 * After an error the network is undefined. */
int sterna_info(struct sterna *device);

/* Chooses a model of the device's flash, and tells as sterna_info what the device computes from then on; after a
 * refusal no model is selected. Not while images are on their way. */
int sterna_select(struct sterna *device, uint8_t model);

/* Sends an image. It must stay as it is until its result was returned. At most STERNA_WINDOW images may be on their
 * way, and sterna_info or sterna_select must have succeeded before. `size` must be the network's image_bytes, else
 * STERNA_REFUSED_WRONG_LENGTH is returned and nothing is sent. The second image of a session may be sent only when
 * sterna_result was called for the first. */
int sterna_classify(struct sterna *device, const uint8_t *image, size_t size);

/* Waits for the result of the oldest image that is on its way. There must be one. `scores` has room for `room` of them,
 * at least the network's classes, or is NULL. After an error both are undefined, and no image is on its way any more;
 * only after STERNA_WRONG_USE all is as before. */
int sterna_result(struct sterna *device, struct sterna_inference *inference, int32_t *scores, size_t room);

#ifdef __cplusplus
}
#endif

#endif
