/* Constants of the protocol between a host and the accelerator (docs/formats.md).
 * Made by `python -m firmware.c` from arch/link: change them there.
 */
#ifndef STERNA_LINK_H
#define STERNA_LINK_H

#define STERNA_VERSION 4 /* version of the protocol */
#define STERNA_SYNC 0xA5 /* first byte of every frame */
#define STERNA_HEADER_BYTES 5 /* of a frame before its payload */
#define STERNA_CRC_BYTES 2 /* of a frame behind its payload */
#define STERNA_CRC_INIT 0xFFFF /* CRC-16/MCRF4XX, in the bit order of the line */
#define STERNA_CRC_POLYNOMIAL 0x8408
#define STERNA_MAX_IMAGE_BYTES 65535 /* of an image: it is the payload of one frame */
#define STERNA_MAX_CLASSES 16379 /* of a network */
#define STERNA_MAX_EVENT_TIMESTEPS 8 /* of events: a byte has one bit for each */
#define STERNA_RESULT_HEADER_WORDS 4 /* of a result, before the scores */
#define STERNA_TIMEOUT_BITS 65536 /* of silence, after which the device gives up a frame */
#define STERNA_MAGIC 0x4E525453 /* first word of the info block */
#define STERNA_INFO_REPLY_BYTES 68 /* of the reply INFO: the info block and counters */
#define STERNA_NAME_BYTES 32 /* of the name of the network in it */
#define STERNA_MAX_COUNT 255 /* at which a counter of faults stays */

/* Where the fields of the reply INFO begin, in bytes. */
#define STERNA_AT_VERSION 4
#define STERNA_AT_LANES 5
#define STERNA_AT_WIDTH 6
#define STERNA_AT_CIRCUIT_TIMESTEPS 7
#define STERNA_AT_ENCODING 8
#define STERNA_AT_CHANNELS 9
#define STERNA_AT_IMAGE_HEIGHT 10
#define STERNA_AT_IMAGE_WIDTH 12
#define STERNA_AT_CLASSES 14
#define STERNA_AT_CLOCK_KHZ 16
#define STERNA_AT_DIGEST 20
#define STERNA_AT_TIMESTEPS 28
#define STERNA_AT_NAME 32
#define STERNA_AT_BAD_FRAMES 64
#define STERNA_AT_OVERRUNS 65
#define STERNA_AT_ABORTED_FRAMES 66
#define STERNA_DIGEST_BYTES 8

/* What a host asks for. */
enum sterna_command {
    STERNA_ASK_INFO = 1,
    STERNA_ASK_CLASSIFY = 2,
    STERNA_ASK_SELECT = 3,
};

/* What the device answers. */
enum sterna_reply {
    STERNA_REPLY_INFO = 129,
    STERNA_REPLY_RESULT = 130,
    STERNA_REPLY_ERROR = 132,
};

/* What a byte of an image means. */
enum sterna_encoding {
    STERNA_ENCODING_UNSIGNED = 0,
    STERNA_ENCODING_OFFSET = 1,
    STERNA_ENCODING_EVENTS = 2,
};

/* Why the device refuses a request. */
enum sterna_refusal {
    STERNA_REFUSED_BAD_CRC = 1,
    STERNA_REFUSED_WRONG_LENGTH = 2,
    STERNA_REFUSED_UNKNOWN_COMMAND = 3,
    STERNA_REFUSED_BUSY = 4,
    STERNA_REFUSED_OVERRUN = 5,
    STERNA_REFUSED_NO_MODEL = 6,
    STERNA_REFUSED_WRONG_MODEL = 7,
    STERNA_REFUSED_DAMAGED = 8,
    STERNA_REFUSED_FLASH = 9,
};
#endif
