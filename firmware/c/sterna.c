/* See sterna.h. The rules by which requests are repeated are those of firmware/host/link.py. */
#include "sterna.h"

#if STERNA_CRC_POLYNOMIAL != 0x8408 || STERNA_HEADER_BYTES != 5
#error "crc_of, send and accept are written for CRC-16/MCRF4XX and a header of five bytes"
#endif

/* The reply INFO is received to where it is wanted: so the structure must have the layout of the line. */
#define AT(member, place) (offsetof(struct sterna_network, member) == STERNA_AT_##place)
typedef char network_has_the_layout_of_the_line
    [AT(version, VERSION) && AT(lanes, LANES) && AT(width, WIDTH) && AT(circuit_timesteps, CIRCUIT_TIMESTEPS) &&
             AT(encoding, ENCODING) && AT(channels, CHANNELS) && AT(image_height, IMAGE_HEIGHT) &&
             AT(image_width, IMAGE_WIDTH) && AT(classes, CLASSES) && AT(clock_khz, CLOCK_KHZ) && AT(digest, DIGEST) &&
             AT(timesteps, TIMESTEPS) && AT(name, NAME) && AT(name[STERNA_NAME_BYTES], BAD_FRAMES) &&
             AT(bad_frames, OVERRUNS) && AT(overruns, ABORTED_FRAMES) &&
             offsetof(struct sterna_network, image_bytes) == STERNA_INFO_REPLY_BYTES &&
             offsetof(struct sterna_inference, flash_stalls) == 4 * (STERNA_RESULT_HEADER_WORDS - 1)
         ? 1
         : -1];

/* Where command, tag and size are in the header of a frame. */
enum { COMMAND_AT = 1, TAG_AT = 2, SIZE_AT = 3 };

/* Of an answer with an info block of whatever version. */
#define MAX_INFO_BYTES 255
/* Longest silence that an inference can ask for: 37 hours, as next() multiplies it by 16. */
#define MAX_SILENCE_MS 0x8000000u

/* What is said beside the codes of sterna.h: send what is marked as not sent; the answer has not come yet. */
#define SEND_AGAIN (-100)
#define NOT_YET (-101)

/* Source: _crc_ccitt_update of avr-libc, which is CRC-16/MCRF4XX with neither a table nor a loop over bits. Its byte is
 * the highest one of a word here, so that no bits must be masked. */
static uint32_t crc_of(uint32_t crc, const uint8_t *data, uint32_t size)
{
    for (const uint8_t *end = data + size; data != end; data++) {
        uint32_t sum = (crc ^ *data) << 24;
        sum ^= sum << 4;
        crc = crc >> 8 ^ sum >> 16 ^ sum >> 21 ^ sum >> 28;
    }
    return crc;
}

/* Turns numbers of `size` bytes, which have come in little-endian order, into those of this processor: nothing is to be
 * done, and a compiler makes nothing of it, where that is the order of the processor too. */
static void to_native(void *numbers, uint32_t count, uint32_t size)
{
    const uint16_t one = 1;
    uint8_t *bytes = numbers;
    if (*(const uint8_t *)&one != 1)
        for (; count > 0; count--, bytes += size)
            for (uint32_t low = 0, high = size - 1; low < high; low++, high--) {
                uint8_t byte = bytes[low];
                bytes[low] = bytes[high];
                bytes[high] = byte;
            }
}

static uint32_t now(const struct sterna *device)
{
    return device->line->clock_ms(device->line->context);
}

/* Returns the next byte of the line, STERNA_NO_ANSWER if none comes in time, STERNA_NOISE if bytes come for too long,
 * or STERNA_LINE_FAILED. */
static int next(const struct sterna *device, uint32_t timeout_ms)
{
    if (now(device) - device->begun_ms > 16 * timeout_ms)
        return STERNA_NOISE;
    return device->line->read(device->line->context, timeout_ms);
}

/* Reads and forgets until nothing came for `silence_ms`: then both ends have forgotten unfinished frames. */
static int empty(struct sterna *device, uint32_t silence_ms)
{
    int byte;
    device->begun_ms = now(device);
    do
        byte = next(device, silence_ms);
    while (byte >= 0);
    return byte == STERNA_NO_ANSWER ? STERNA_OK : byte;
}

/* Sends a request; returns false if the line has failed. */
static bool send(struct sterna *device, struct sterna_request *request)
{
    const struct sterna_line *line = device->line;
    uint8_t check[STERNA_CRC_BYTES];
    request->tag = ++device->frame[TAG_AT];
    /* Before the first byte is sent: a pause inside a frame would end it. */
    uint32_t crc = crc_of(STERNA_CRC_INIT, device->frame + COMMAND_AT, STERNA_HEADER_BYTES - COMMAND_AT);
    crc = crc_of(crc, request->payload, device->size);
    check[0] = (uint8_t)(crc & 0xFF);
    check[1] = (uint8_t)(crc >> 8);
    return line->write(line->context, device->frame, sizeof device->frame) &&
           line->write(line->context, request->payload, device->size) &&
           line->write(line->context, check, sizeof check);
}

/* Sends what may be sent now; returns false if the line has failed. The second image waits while the first may be
 * answered by what another session sent, and after the device had no room for it. */
static bool send_waiting(struct sterna *device)
{
    struct sterna_request *request = device->requests;
    if (request[0].tag < 0 && !send(device, &request[0]))
        return false;
    if (device->waiting < 2 || device->window < 2 || request[1].tag != STERNA_UNSENT)
        return true;
    return send(device, &request[1]);
}

/* Has all requests sent again, when the line has been silent. One millisecond is added, as the first that a clock
 * counts may be a part of one. */
static int lost(struct sterna *device)
{
    device->due_ms = 1;
    return SEND_AGAIN;
}

/* Judges an ERROR for a request that waits, or for NULL: SEND_AGAIN, NOT_YET, or the error of the request. */
static int refused(struct sterna *device, struct sterna_request *request, uint32_t code)
{
    if (request == NULL)
        /* The tag of a frame with a bad CRC may be wrong too. Other codes answer what was given up before. */
        return code == STERNA_REFUSED_BAD_CRC ? lost(device) : NOT_YET;
    request->tag = STERNA_UNSENT;
    if (code == STERNA_REFUSED_BAD_CRC || code == STERNA_REFUSED_OVERRUN)
        return SEND_AGAIN;
    if (code != STERNA_REFUSED_BUSY)
        return code > 0 ? (int)code : (int)STERNA_MALFORMED;
    request->tag = STERNA_NO_ROOM;
    if (request == device->requests)
        return lost(device);
    /* It is sent when the image before it has its result. If no fault of the line explains that there was no room for
     * two images, the model leaves none. */
    if (device->faults == 0)
        device->window = 1;
    return NOT_YET;
}

/* Returns the request that was sent under a tag and waits for its answer, or NULL. */
static struct sterna_request *find(struct sterna *device, int32_t tag)
{
    struct sterna_request *request = device->requests;
    for (uint32_t left = device->waiting; left > 0; left--, request++)
        if (request->tag == tag)
            return request;
    return NULL;
}

/* Judges the answer that has come whole: STERNA_OK if it is that of the oldest request, SEND_AGAIN, an error, or
 * NOT_YET if nobody waits for it. */
static int judge(struct sterna *device)
{
    struct sterna_request *request = find(device, (uint8_t)(device->header >> 8));
    if ((device->header & 0xFF) != device->reply)
        return refused(device, request, *device->head);
    if (request == NULL)
        return NOT_YET;
    /* Results come in order: with that of the second image, the first one's was lost. */
    return request == device->requests ? (int)STERNA_OK : lost(device);
}

/* Takes a byte of the line; returns NOT_YET, or what judge() says of the answer that it ends. */
static int accept(struct sterna *device, uint8_t byte)
{
    if (device->left == 0) {
        /* A window of five bytes slides over the line until it holds a header that is possible now. What the window
         * holds of the frame before may look like one too: then the CRC is wrong. */
        const uint32_t first = device->header & 0xFF;
        uint32_t header = device->header = device->header >> 8 | (uint32_t)byte << 24;
        const uint32_t reply = header & 0xFF, bytes = header >> 16;
        if (first == STERNA_SYNC &&
            (reply == STERNA_REPLY_ERROR ? bytes == 1 : reply == device->reply && bytes <= device->max_bytes)) {
            to_native(&header, 1, sizeof header);
            device->to = device->head;
            device->left = bytes + STERNA_CRC_BYTES;
            device->crc = crc_of(STERNA_CRC_INIT, (uint8_t *)&header, sizeof header);
        }
        return NOT_YET;
    }
    uint8_t *to = device->to == device->head_end ? device->rest : device->to;
    if (to != NULL && device->left > STERNA_CRC_BYTES)
        *to++ = byte;
    device->to = to;
    device->crc = crc_of(device->crc, &byte, 1);
    if (--device->left > 0)
        return NOT_YET;
    return device->crc == 0 ? judge(device) : lost(device);
}

/* Receives frames until one answers the oldest request: STERNA_OK, SEND_AGAIN, or an error. */
static int receive(struct sterna *device)
{
    int status;
    device->begun_ms = now(device);
    device->header = 0;
    device->left = 0;
    do {
        int byte = next(device, device->timeout_ms);
        if (byte < 0)
            return byte == STERNA_LINE_FAILED ? byte : lost(device);
        status = accept(device, (uint8_t)byte);
    } while (status == NOT_YET);
    return status;
}

/* Returns the bytes of the payload that receive() has ended with. */
static uint32_t answer_bytes(const struct sterna *device)
{
    return device->header >> 16;
}

/* Sends what is to be sent and waits for the answer of the oldest request. */
static int exchange(struct sterna *device)
{
    for (uint32_t attempts = device->retries + 1u;; attempts--) {
        if (device->due_ms > 0) {
            int status = empty(device, device->silence_ms + device->due_ms);
            if (status != STERNA_OK)
                return status;
            device->due_ms = 0;
            for (uint32_t index = 0; index < STERNA_WINDOW; index++)
                if (device->requests[index].tag >= 0)
                    device->requests[index].tag = STERNA_UNSENT;
        }
        if (attempts == 0)
            return device->requests[0].tag == STERNA_NO_ROOM ? (int)STERNA_REFUSED_BUSY : (int)STERNA_NO_ANSWER;
        if (!send_waiting(device))
            return STERNA_LINE_FAILED;
        int status = receive(device);
        if (status != SEND_AGAIN)
            return status;
        device->faults++;
    }
}

/* Makes a request that is to be sent. */
static void request(struct sterna *device, uint8_t command, const uint8_t *payload, uint16_t size)
{
    struct sterna_request *added = &device->requests[device->waiting++];
    device->frame[COMMAND_AT] = command;
    device->frame[SIZE_AT] = (uint8_t)(size & 0xFF);
    device->frame[SIZE_AT + 1] = (uint8_t)(size >> 8);
    device->size = size;
    added->payload = payload;
    added->tag = STERNA_UNSENT;
}

/* Checks and completes the network of which the reply INFO has come. */
static int decode(struct sterna *device)
{
    struct sterna_network *network = &device->network;
    to_native(&network->magic, 1, sizeof network->magic);
    if (answer_bytes(device) <= STERNA_AT_VERSION || network->magic != STERNA_MAGIC)
        return STERNA_MALFORMED;
    if (network->version != STERNA_VERSION)
        return STERNA_OTHER_VERSION;
    if (answer_bytes(device) != STERNA_INFO_REPLY_BYTES)
        return STERNA_MALFORMED;
    to_native(&network->image_height, 1, sizeof network->image_height);
    to_native(&network->image_width, 1, sizeof network->image_width);
    to_native(&network->classes, 1, sizeof network->classes);
    to_native(&network->clock_khz, 1, sizeof network->clock_khz);
    /* The zero at the end of the name takes the place of the first counter, and moves all of them. */
    network->aborted_frames = network->overruns;
    network->overruns = network->bad_frames;
    network->bad_frames = (uint8_t)network->name[STERNA_NAME_BYTES];
    network->name[STERNA_NAME_BYTES] = 0;
    /* The product of height, width and channels without a multiplier. With a height of 0 it goes on up to the limit. */
    uint32_t bytes = 0, rows = network->image_height;
    do {
        for (uint32_t channels = network->channels; channels > 0; channels--) {
            bytes += network->image_width;
            if (bytes > STERNA_MAX_IMAGE_BYTES)
                return STERNA_MALFORMED;
        }
        if (bytes == 0)
            return STERNA_MALFORMED;
    } while (--rows > 0);
    network->image_bytes = (uint16_t)bytes;
    if (network->encoding > STERNA_ENCODING_EVENTS || network->clock_khz == 0 ||
        network->classes - 1u >= STERNA_MAX_CLASSES)
        return STERNA_MALFORMED;
    return STERNA_OK;
}

/* Sends a request whose answer is an info block; SELECT has a payload of one byte, INFO none. */
static int ask(struct sterna *device, uint8_t command, uint8_t size)
{
    if (device->waiting > 0)
        return STERNA_WRONG_USE;
    device->head = (uint8_t *)&device->network;
    device->rest = NULL;
    device->head_end = device->head + STERNA_INFO_REPLY_BYTES;
    device->max_bytes = MAX_INFO_BYTES;
    device->reply = STERNA_REPLY_INFO;
    request(device, command, &device->model, size);
    int status = exchange(device);
    device->waiting = 0;
    if (status == STERNA_OK)
        status = decode(device);
    if (status != STERNA_OK)
        device->network.classes = 0;
    /* The device refuses a SELECT while an image has no result: no other session's can come any more. */
    else if (device->frame[COMMAND_AT] == STERNA_ASK_SELECT)
        device->window = STERNA_WINDOW;
    return status;
}

void sterna_init(struct sterna *device, const struct sterna_line *line, uint8_t first_tag)
{
    device->timeout_ms = 1000;
    device->silence_ms = 100;
    device->retries = 3;
    device->frame[0] = STERNA_SYNC;
    device->frame[TAG_AT] = (uint8_t)(first_tag - 1);
    device->due_ms = 1;
    device->window = 0;
    device->waiting = 0;
    device->network.classes = 0;
    device->line = line;
    device->faults = 0;
}

int sterna_info(struct sterna *device)
{
    return ask(device, STERNA_ASK_INFO, 0);
}

int sterna_select(struct sterna *device, uint8_t model)
{
    device->model = model;
    return ask(device, STERNA_ASK_SELECT, sizeof device->model);
}

int sterna_classify(struct sterna *device, const uint8_t *image, size_t size)
{
    if (device->network.classes == 0 || device->waiting == STERNA_WINDOW)
        return STERNA_WRONG_USE;
    if (size != device->network.image_bytes)
        return STERNA_REFUSED_WRONG_LENGTH;
    request(device, STERNA_ASK_CLASSIFY, image, device->network.image_bytes);
    if (send_waiting(device))
        return STERNA_OK;
    device->waiting = 0;
    return STERNA_LINE_FAILED;
}

/* Returns a time that is longer than twice `cycles` at `khz`, in ms, without a division: the clock is rounded down to a
 * power of two. */
static uint32_t twice_ms(uint32_t cycles, uint32_t khz)
{
    while (khz > 1 || cycles >= MAX_SILENCE_MS / 2) {
        khz >>= 1;
        cycles >>= 1;
    }
    return 2 * (cycles + 1);
}

/* Waits for a result. */
static int take(struct sterna *device, struct sterna_inference *inference, int32_t *scores)
{
    int status = exchange(device);
    to_native(inference, STERNA_RESULT_HEADER_WORDS, sizeof inference->label);
    if (scores != NULL)
        to_native(scores, device->network.classes, sizeof *scores);
    return status;
}

int sterna_result(struct sterna *device, struct sterna_inference *inference, int32_t *scores, size_t room)
{
    if (device->waiting == 0 || (scores != NULL && room < device->network.classes))
        return STERNA_WRONG_USE;
    device->head = (uint8_t *)inference;
    device->rest = (uint8_t *)scores;
    device->head_end = device->head + sizeof *inference;
    device->max_bytes = (uint16_t)(sizeof *inference + 4u * device->network.classes);
    device->reply = STERNA_REPLY_RESULT;
    int status = take(device, inference, scores);
    if (status == STERNA_OK && device->window == 0) {
        /* If the device computes for longer than the line was silent, this may be the result of another session, under
         * the same tag. In the time of two inferences every result that is on its way comes. */
        const uint32_t silence = twice_ms(inference->cycles, device->network.clock_khz);
        if (silence > device->silence_ms) {
            device->due_ms = silence;
            status = take(device, inference, scores);
        }
        if (status == STERNA_OK)
            device->window = STERNA_WINDOW;
    }
    if (status == STERNA_OK && answer_bytes(device) == device->max_bytes &&
        inference->label < device->network.classes) {
        device->requests[0] = device->requests[1];
        device->waiting--;
        return STERNA_OK;
    }
    device->waiting = 0;
    return status == STERNA_OK ? (int)STERNA_MALFORMED : status;
}
