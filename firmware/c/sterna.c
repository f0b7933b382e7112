/* See sterna.h. The rules by which requests are repeated are those of firmware/host/link.py. */
#include "sterna.h"

#if STERNA_CRC_POLYNOMIAL != 0x8408 || STERNA_HEADER_BYTES != 5
#error "crc_of, send and receive are written for CRC-16/MCRF4XX and a header of five bytes"
#endif

#define INFO_WORDS (STERNA_INFO_REPLY_BYTES / 4)
/* Of an answer with an info block of whatever version. */
#define MAX_INFO_BYTES 255
/* Longest silence that an inference can ask for: four days. */
#define MAX_SILENCE_MS 0x10000000u

/* What receive() says beside the codes of sterna.h. */
enum {
    /* Wait until the line is silent, and send again what has no answer. */
    LOST = -100,
    /* Send what is marked as not sent. */
    SEND_AGAIN = -101
};

/* The answer that is waited for. Its first words go to `head`, the others to `rest` unless that is NULL. */
struct answer {
    uint32_t *head;
    uint32_t *rest;
    uint32_t head_words;
    /* Of the payload: at most that many are expected, then as many have come. */
    uint32_t max_bytes, bytes;
    uint32_t reply;
};

/* Source: _crc_ccitt_update of avr-libc, which is CRC-16/MCRF4XX with neither a table nor a loop over bits. */
static uint32_t crc_next(uint32_t crc, uint32_t byte)
{
    uint32_t sum = (crc ^ byte) & 0xFF;
    sum = (sum ^ sum << 4) & 0xFF;
    return crc >> 8 ^ sum << 8 ^ sum << 3 ^ sum >> 4;
}

static uint32_t crc_of(uint32_t crc, const uint8_t *data, uint32_t size)
{
    for (const uint8_t *end = data + size; data != end; data++)
        crc = crc_next(crc, *data);
    return crc;
}

static uint32_t now(const struct sterna *device)
{
    return device->line->clock_ms(device->line->context);
}

/* Takes what has arrived into the buffer; returns how many bytes, or STERNA_LINE_FAILED. */
static int fill(struct sterna *device, uint32_t timeout_ms)
{
    int count = device->line->read(device->line->context, device->buffer, sizeof device->buffer, timeout_ms);
    device->used = 0;
    device->filled = (uint8_t)(count < 0 ? 0 : count);
    return count < 0 ? STERNA_LINE_FAILED : count;
}

/* Returns the next byte of the line, or an error. */
static int next(struct sterna *device)
{
    if (device->used == device->filled) {
        int count = fill(device, device->timeout_ms);
        if (count <= 0)
            return count < 0 ? count : LOST;
    }
    return device->buffer[device->used++];
}

/* Reads and forgets until nothing came for `silence_ms`: then both ends have forgotten unfinished frames. */
static int empty(struct sterna *device, uint32_t silence_ms)
{
    const uint32_t begun = now(device);
    const uint32_t limit = device->timeout_ms + 8 * silence_ms;
    for (;;) {
        int count = fill(device, silence_ms);
        if (count <= 0)
            return count;
        device->filled = 0;
        if (now(device) - begun > limit)
            return STERNA_NOISE;
    }
}

static int send(struct sterna *device, struct sterna_request *request)
{
    const struct sterna_line *line = device->line;
    if (request->attempts > device->retries)
        return request->state == STERNA_NO_ROOM ? (int)STERNA_REFUSED_BUSY : (int)STERNA_NO_ANSWER;
    device->repeated += request->attempts > 0;
    request->attempts++;
    request->state = STERNA_SENT;
    request->tag = ++device->tag;

    uint8_t header[STERNA_HEADER_BYTES], check[STERNA_CRC_BYTES];
    header[0] = STERNA_SYNC;
    header[1] = device->command;
    header[2] = request->tag;
    header[3] = (uint8_t)(device->size & 0xFF);
    header[4] = (uint8_t)(device->size >> 8);
    /* Before the first byte is sent: a pause inside a frame would end it. */
    uint32_t crc = crc_of(STERNA_CRC_INIT, header + 1, STERNA_HEADER_BYTES - 1);
    crc = crc_of(crc, request->payload, device->size);
    check[0] = (uint8_t)(crc & 0xFF);
    check[1] = (uint8_t)(crc >> 8);
    return line->write(line->context, header, sizeof header) &&
                   line->write(line->context, request->payload, device->size) &&
                   line->write(line->context, check, sizeof check)
               ? STERNA_OK
               : STERNA_LINE_FAILED;
}

/* Sends what may be sent now. The second image waits while the first may be answered by what another session sent, and
 * after the device had no room for it. */
static int send_waiting(struct sterna *device)
{
    int status = STERNA_OK;
    struct sterna_request *request = device->requests;
    if (request[0].state != STERNA_SENT)
        status = send(device, &request[0]);
    if (status == STERNA_OK && device->waiting > 1 && request[1].state == STERNA_UNSENT && device->window > 1)
        status = send(device, &request[1]);
    return status;
}

/* Judges an ERROR for a request that waits, or for NULL. */
static int refused(struct sterna *device, struct sterna_request *request, uint32_t code)
{
    if (request == NULL)
        /* The tag of a frame with a bad CRC may be wrong too. Other codes answer what was given up before. */
        return code == STERNA_REFUSED_BAD_CRC ? (int)LOST : (int)STERNA_OK;
    request->state = STERNA_UNSENT;
    if (code == STERNA_REFUSED_BAD_CRC || code == STERNA_REFUSED_OVERRUN)
        return SEND_AGAIN;
    if (code != STERNA_REFUSED_BUSY)
        return code > 0 ? (int)code : (int)STERNA_MALFORMED;
    request->state = STERNA_NO_ROOM;
    if (request == device->requests)
        return LOST;
    /* It is sent when the image before it has its result. If no fault of the line explains that there was no room for
     * two images, the model leaves none. */
    if (device->repeated == 0)
        device->window = 1;
    request->attempts--;
    return SEND_AGAIN;
}

/* Returns the request that was sent under a tag and waits for its answer, or NULL. */
static struct sterna_request *find(struct sterna *device, uint32_t tag)
{
    struct sterna_request *request = device->requests;
    for (uint32_t left = device->waiting; left > 0; left--, request++)
        if (request->state == STERNA_SENT && request->tag == tag)
            return request;
    return NULL;
}

/* Receives frames until one answers the oldest request: STERNA_OK, LOST, SEND_AGAIN, or an error. */
static int receive(struct sterna *device, struct answer *answer)
{
    const uint32_t begun = now(device);
    for (;;) {
        /* A window of five bytes slides over the line until it holds a header that is possible now. */
        uint32_t first, header = 0, reply, bytes;
        int byte;
        do {
            if (now(device) - begun > 8 * device->timeout_ms)
                return LOST;
            byte = next(device);
            if (byte < 0)
                return byte;
            first = header & 0xFF;
            header = header >> 8 | (uint32_t)byte << 24;
            reply = header & 0xFF;
            bytes = header >> 16;
        } while (first != STERNA_SYNC ||
                 !(reply == STERNA_REPLY_ERROR ? bytes == 1 : reply == answer->reply && bytes <= answer->max_bytes));

        uint32_t crc = STERNA_CRC_INIT;
        for (uint32_t rest = header, left = 4; left > 0; left--, rest >>= 8)
            crc = crc_next(crc, rest & 0xFF);
        uint32_t word = 0, *to = answer->head;
        for (uint32_t at = 0; at < bytes + STERNA_CRC_BYTES; at++) {
            byte = next(device);
            if (byte < 0)
                return byte;
            crc = crc_next(crc, (uint32_t)byte);
            if (at < bytes)
                word = word >> 8 | (uint32_t)byte << 24;
            if ((at & 3) == 3 && at < bytes && to != NULL) {
                *to++ = word;
                if (at >> 2 == answer->head_words - 1)
                    to = answer->rest;
            }
        }
        if (crc != 0)
            return LOST;

        struct sterna_request *request = find(device, header >> 8 & 0xFF);
        if (reply == STERNA_REPLY_ERROR) {
            int status = refused(device, request, word >> 24);
            if (status != STERNA_OK)
                return status;
        } else if (request != NULL) {
            answer->bytes = bytes;
            /* Results come in order: with that of the second image, the first one's was lost. */
            return request == device->requests ? (int)STERNA_OK : (int)LOST;
        }
        /* Otherwise this was the late answer of a request that was given up. */
    }
}

/* Sends what is to be sent and waits for the answer of the oldest request. */
static int exchange(struct sterna *device, struct answer *answer)
{
    int status;
    do {
        status = send_waiting(device);
        if (status == STERNA_OK)
            status = receive(device, answer);
        if (status == LOST) {
            for (uint32_t index = 0; index < device->waiting; index++)
                if (device->requests[index].state == STERNA_SENT)
                    device->requests[index].state = STERNA_UNSENT;
            status = empty(device, device->silence_ms);
            if (status == STERNA_OK)
                status = SEND_AGAIN;
        }
    } while (status == SEND_AGAIN);
    return status;
}

static void request(struct sterna *device, uint8_t command, const uint8_t *payload, uint16_t size)
{
    struct sterna_request *added = &device->requests[device->waiting++];
    device->command = command;
    device->size = size;
    added->payload = payload;
    added->attempts = 0;
    added->state = STERNA_UNSENT;
}

/* Returns `height` x `width` x `channels` without a multiplier, or 0 where that is 0 or more than an image may have. */
static uint32_t image_bytes(uint32_t height, uint32_t width, uint32_t channels)
{
    uint32_t bytes = 0;
    for (uint32_t row = 0; row < height && width > 0; row++)
        for (uint32_t channel = 0; channel < channels; channel++) {
            bytes += width;
            if (bytes > STERNA_MAX_IMAGE_BYTES)
                return 0;
        }
    return bytes;
}

/* Bytes of the reply INFO as a number; a number lies within one word. */
static uint32_t field(const uint32_t *block, uint32_t offset)
{
    return block[offset >> 2] >> (8 * (offset & 3));
}

static int decode(struct sterna *device, const uint32_t *block, uint32_t bytes, struct sterna_network *network)
{
    if (block[0] != STERNA_MAGIC)
        return STERNA_MALFORMED;
    if ((field(block, STERNA_AT_VERSION) & 0xFF) != STERNA_VERSION)
        return STERNA_OTHER_VERSION;
    if (bytes != STERNA_INFO_REPLY_BYTES)
        return STERNA_MALFORMED;
    network->lanes = (uint8_t)field(block, STERNA_AT_LANES);
    network->width = (uint8_t)field(block, STERNA_AT_WIDTH);
    network->circuit_timesteps = (uint8_t)field(block, STERNA_AT_CIRCUIT_TIMESTEPS);
    network->timesteps = (uint8_t)field(block, STERNA_AT_TIMESTEPS);
    network->encoding = (uint8_t)field(block, STERNA_AT_ENCODING);
    network->channels = (uint8_t)field(block, STERNA_AT_CHANNELS);
    network->image_height = (uint16_t)field(block, STERNA_AT_IMAGE_HEIGHT);
    network->image_width = (uint16_t)field(block, STERNA_AT_IMAGE_WIDTH);
    network->classes = (uint16_t)field(block, STERNA_AT_CLASSES);
    network->clock_khz = field(block, STERNA_AT_CLOCK_KHZ);
    network->image_bytes =
        (uint16_t)image_bytes(network->image_height, network->image_width, network->channels);
    for (uint32_t at = 0; at < STERNA_DIGEST_BYTES; at++)
        network->digest[at] = (uint8_t)field(block, STERNA_AT_DIGEST + at);
    for (uint32_t at = 0; at < STERNA_NAME_BYTES; at++)
        network->name[at] = (char)field(block, STERNA_AT_NAME + at);
    network->name[STERNA_NAME_BYTES] = 0;
    network->bad_frames = (uint8_t)field(block, STERNA_AT_BAD_FRAMES);
    network->overruns = (uint8_t)field(block, STERNA_AT_OVERRUNS);
    network->aborted_frames = (uint8_t)field(block, STERNA_AT_ABORTED_FRAMES);
    device->clock_khz = network->clock_khz;
    if (network->encoding > STERNA_ENCODING_EVENTS || network->image_bytes == 0 || network->clock_khz == 0 ||
        network->classes == 0 || network->classes > STERNA_MAX_CLASSES)
        return STERNA_MALFORMED;
    device->image_bytes = network->image_bytes;
    device->classes = network->classes;
    return STERNA_OK;
}

/* Sends a request whose answer is an info block. */
static int ask(struct sterna *device, uint8_t command, const uint8_t *payload, struct sterna_network *network)
{
    uint32_t block[INFO_WORDS];
    struct answer answer = {block, NULL, INFO_WORDS, MAX_INFO_BYTES, 0, STERNA_REPLY_INFO};
    if (device->waiting > 0)
        return STERNA_WRONG_USE;
    if (!device->begun) {
        int status = empty(device, device->silence_ms);
        if (status != STERNA_OK)
            return status;
        device->begun = true;
    }
    device->classes = 0;
    block[0] = block[1] = 0;
    request(device, command, payload, payload != NULL);
    int status = exchange(device, &answer);
    device->waiting = 0;
    return status == STERNA_OK ? decode(device, block, answer.bytes, network) : status;
}

void sterna_init(struct sterna *device, const struct sterna_line *line, uint8_t first_tag)
{
    device->timeout_ms = 1000;
    device->silence_ms = 100;
    device->retries = 3;
    device->tag = (uint8_t)(first_tag - 1);
    device->begun = false;
    device->window = 0;
    device->waiting = 0;
    device->classes = 0;
    device->line = line;
    device->used = device->filled = 0;
    device->repeated = 0;
}

int sterna_info(struct sterna *device, struct sterna_network *network)
{
    return ask(device, STERNA_ASK_INFO, NULL, network);
}

int sterna_select(struct sterna *device, uint8_t model, struct sterna_network *network)
{
    int status = ask(device, STERNA_ASK_SELECT, &model, network);
    if (status == STERNA_OK) {
        /* The device refuses a SELECT while an image has no result: no other session's can come any more. */
        device->window = STERNA_WINDOW;
    }
    return status;
}

int sterna_classify(struct sterna *device, const uint8_t *image, size_t size)
{
    if (device->classes == 0 || device->waiting == STERNA_WINDOW)
        return STERNA_WRONG_USE;
    if (size != device->image_bytes)
        return STERNA_REFUSED_WRONG_LENGTH;
    request(device, STERNA_ASK_CLASSIFY, image, device->image_bytes);
    int status = send_waiting(device);
    if (status != STERNA_OK)
        device->waiting = 0;
    return status;
}

/* Returns a time that is longer than twice `cycles` at `khz`, in ms, without a division: the clock is rounded down to a
 * power of two. */
static uint32_t twice_ms(uint32_t cycles, uint32_t khz)
{
    while (khz > 1) {
        khz >>= 1;
        cycles >>= 1;
    }
    return cycles < MAX_SILENCE_MS / 2 - 1 ? 2 * (cycles + 1) : MAX_SILENCE_MS;
}

int sterna_result(struct sterna *device, struct sterna_inference *inference, int32_t *scores, size_t room)
{
    uint32_t head[STERNA_RESULT_HEADER_WORDS];
    const uint32_t bytes = 4 * ((uint32_t)STERNA_RESULT_HEADER_WORDS + device->classes);
    /* int32_t is two's complement, and may be written as the unsigned type of its size. */
    struct answer answer = {head, (uint32_t *)scores, STERNA_RESULT_HEADER_WORDS, bytes, 0, STERNA_REPLY_RESULT};
    if (device->waiting == 0 || (scores != NULL && room < device->classes))
        return STERNA_WRONG_USE;
    int status = exchange(device, &answer);
    if (status == STERNA_OK && device->window == 0) {
        /* The device computes for longer than the line was silent: this may be the result of another session, under
         * the same tag. In the time of two inferences every result that is on its way comes. */
        const uint32_t silence = twice_ms(head[1], device->clock_khz);
        if (silence > device->silence_ms) {
            status = empty(device, silence);
            device->requests[0].state = STERNA_UNSENT;
            device->requests[0].attempts = 0;
            if (status == STERNA_OK)
                status = exchange(device, &answer);
        }
        if (status == STERNA_OK)
            device->window = STERNA_WINDOW;
    }
    if (status == STERNA_OK && (answer.bytes != bytes || head[0] >= device->classes))
        status = STERNA_MALFORMED;
    if (status != STERNA_OK) {
        device->waiting = 0;
        return status;
    }
    inference->label = head[0];
    inference->cycles = head[1];
    inference->stalls = head[2];
    inference->flash_stalls = head[3];
    device->requests[0] = device->requests[1];
    device->waiting--;
    return STERNA_OK;
}
