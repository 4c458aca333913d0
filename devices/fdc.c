/* The floppy disk controller: see fdc.h for its use. Intel 82077AA data sheet (290166), sections 4
 * (registers) and 5 (commands); status bits from its appendix.
 *
 * The controller is in one of the phases below. `work` is pending exactly in PH_RESET (unless the
 * reset bit holds it there) and PH_BUSY; each time it fires the running command moves one sector.
 * In PH_IN and PH_OUT the bytes of `buf` wait for the guest at port 3F5h (non-DMA mode).
 *
 * Known inaccuracies: the disk turns much faster than 300 rpm (SECTOR_NS) and heads step faster
 * than SPECIFY says; the motors need not be on. All sectors are 512 bytes, interleave and gaps are
 * ignored, and FORMAT only fills sectors that the geometry has. Deleted data marks are not kept: WRITE
 * DELETED writes ordinary sectors. A data rate must fit the medium, but 250 and 300 kbit/s pass
 * for each other. An empty drive fails commands with a missing address mark, where real ones wait
 * for an index hole for ever. Status registers A and B (PS/2 mode) read as FFh. A FIFO threshold
 * does not batch interrupts of the non-DMA mode: each byte raises one. The interrupt after a reset
 * comes even with polling off: drivers that turn it off wait for it all the same.
 */
#include "devices/fdc.h"

#define RESET_NS    (100 * 1000ull)
#define COMMAND_NS  (500 * 1000ull) /* head load and the way to the first sector */
#define SECTOR_NS   (200 * 1000ull)
#define STEP_NS     (100 * 1000ull) /* a cylinder */
#define DMA_CHANNEL 2
#define MAX_CYL     85 /* where heads hit the stop */
#define SECTOR      512u

enum fdc_phase { PH_RESET, PH_COMMAND, PH_BUSY, PH_IN, PH_OUT, PH_RESULT, PH_COUNT };

enum { DOR_SELECT = 0x03, DOR_NRESET = 0x04, DOR_GATE = 0x08, DOR_MOTOR0 = 0x10 };
enum { MSR_BUSY = 0x10, MSR_NDMA = 0x20, MSR_DIO = 0x40, MSR_RQM = 0x80 };
enum {
    ST0_NR = 0x08,
    ST0_EC = 0x10,
    ST0_SE = 0x20,
    ST0_ABNORMAL = 0x40,
    ST0_INVALID = 0x80,
    ST0_POLLING = 0xc0
};
enum { ST1_MA = 0x01, ST1_NW = 0x02, ST1_ND = 0x04, ST1_OR = 0x10, ST1_DE = 0x20, ST1_EN = 0x80 };
enum { ST2_SN = 0x04, ST2_SH = 0x08, ST2_WC = 0x10, ST2_DD = 0x20, ST2_CM = 0x40 };
enum { ST3_TWO_SIDE = 0x08, ST3_TRACK0 = 0x10, ST3_READY = 0x20, ST3_WP = 0x40 };
enum { CFG_EFIFO_OFF = 0x20, CFG_IMPLIED_SEEK = 0x40 };
enum { CMD_MT = 0x80, CMD_SK = 0x20, CMD_EC = 0x80 /* VERIFY, in the second byte */ };

enum {
    C_READ_TRACK = 0x02,
    C_SPECIFY = 0x03,
    C_SENSE_DRIVE = 0x04,
    C_WRITE = 0x05,
    C_READ = 0x06,
    C_RECALIBRATE = 0x07,
    C_SENSE_INT = 0x08,
    C_WRITE_DELETED = 0x09,
    C_READ_ID = 0x0a,
    C_READ_DELETED = 0x0c,
    C_FORMAT = 0x0d,
    C_DUMPREG = 0x0e,
    C_SEEK = 0x0f,
    C_VERSION = 0x10,
    C_SCAN_EQUAL = 0x11,
    C_PERPENDICULAR = 0x12,
    C_CONFIGURE = 0x13,
    C_LOCK = 0x14,
    C_VERIFY = 0x16,
    C_SCAN_LOW = 0x19,
    C_SCAN_HIGH = 0x1d
};

/* ---- state ---------------------------------------------------------------------------------- */

static const struct vm_field fdc_unit_fields[] = {
    VM_INT(struct fdc_unit, cyl),
    VM_INT(struct fdc_unit, seek_to),
    VM_INT(struct fdc_unit, recalibrating),
    VM_INT(struct fdc_unit, head),
    VM_INT(struct fdc_unit, sector),
    VM_INT(struct fdc_unit, changed),
    VM_INT(struct fdc_unit, readonly),
    VM_INT(struct fdc_unit, cyls),
    VM_INT(struct fdc_unit, heads),
    VM_INT(struct fdc_unit, sectors),
    VM_INT(struct fdc_unit, rate),
    VM_INT(struct fdc_unit, st0),
    VM_STRUCT(struct fdc_unit, step, &vm_event),
    VM_SKIP(struct fdc_unit, fdc, "the way back from the event, set at init"),
    VM_END,
};
static const struct vmstate vm_fdc_unit = VMSTATE("fdc_unit", struct fdc_unit, fdc_unit_fields);

static const struct vm_field fdc_fields[] = {
    VM_DEVICE(struct fdc),
    VM_SKIP(struct fdc, cfg, "configuration and wiring, set by the board"),
    VM_STRUCTS(struct fdc, unit, &vm_fdc_unit),
    VM_INT(struct fdc, dor),
    VM_INT(struct fdc, dsr),
    VM_INT(struct fdc, ccr),
    VM_INT(struct fdc, tdr),
    VM_INT(struct fdc, srt_hut),
    VM_INT(struct fdc, hlt_nd),
    VM_INT(struct fdc, config),
    VM_INT(struct fdc, pretrk),
    VM_INT(struct fdc, perp),
    VM_INT(struct fdc, locked),
    VM_INT(struct fdc, phase),
    VM_BYTES(struct fdc, cmd),
    VM_INT(struct fdc, cmd_len),
    VM_INT(struct fdc, cmd_want),
    VM_BYTES(struct fdc, result),
    VM_INT(struct fdc, result_pos),
    VM_INT(struct fdc, result_len),
    VM_INT(struct fdc, int_pending),
    VM_INT(struct fdc, seeking),
    VM_INT(struct fdc, irq_level),
    VM_INT(struct fdc, x_cyl),
    VM_INT(struct fdc, x_head),
    VM_INT(struct fdc, x_sector),
    VM_INT(struct fdc, x_size),
    VM_INT(struct fdc, x_eot),
    VM_INT(struct fdc, x_left),
    VM_INT(struct fdc, x_tc),
    VM_INT(struct fdc, x_unequal),
    VM_INT(struct fdc, x_differs),
    VM_INT(struct fdc, x_pos),
    VM_INT(struct fdc, x_len),
    VM_BYTES(struct fdc, buf),
    VM_STRUCT(struct fdc, work, &vm_event),
    VM_END,
};

static bool fdc_post_load(void *obj)
{
    const struct fdc *f = obj;

    return f->phase < PH_COUNT && f->cmd_want <= sizeof(f->cmd) && f->cmd_len <= f->cmd_want &&
           f->result_len <= sizeof(f->result) && f->result_pos <= f->result_len &&
           f->x_len <= sizeof(f->buf) && f->x_pos <= f->x_len;
}

const struct vmstate vm_fdc = VMSTATE_HOOKS("fdc", struct fdc, fdc_fields, NULL, fdc_post_load);

/* ---- media ---------------------------------------------------------------------------------- */

static bool fitted(const struct fdc *f, unsigned n)
{
    return n < f->cfg.drives;
}

static bool has_medium(const struct fdc *f, unsigned n)
{
    return fitted(f, n) && f->cfg.media[n] && f->unit[n].heads;
}

static bool rate_fits(const struct fdc *f, const struct fdc_unit *u)
{
    unsigned rate = f->ccr & 3;

    return rate == u->rate || (rate == 1 && u->rate == 2);
}

/* ---- interrupts and phases ------------------------------------------------------------------ */

static void set_irq(struct fdc *f, bool level)
{
    level = level && (f->dor & DOR_GATE);
    if (level != f->irq_level) {
        f->irq_level = level;
        irq_set(&f->cfg.irq, level);
    }
}

static void busy(struct fdc *f, uint64_t ns)
{
    f->phase = PH_BUSY;
    event_in(&f->work, ns);
}

static void await_command(struct fdc *f)
{
    f->phase = PH_COMMAND;
    f->cmd_len = 0;
    f->cmd_want = 1;
}

static void give_result(struct fdc *f, unsigned len)
{
    f->phase = PH_RESULT;
    f->result_pos = 0;
    f->result_len = (uint8_t)len;
}

static unsigned command(const struct fdc *f)
{
    return f->cmd[0] & 0x1f;
}

static struct fdc_unit *cmd_unit(struct fdc *f)
{
    return &f->unit[f->cmd[1] & 3];
}

static bool dma_mode(const struct fdc *f)
{
    return !(f->hlt_nd & 1);
}

/* The seven bytes that end every command that moved data. */
static void finish(struct fdc *f, uint8_t st0, uint8_t st1, uint8_t st2)
{
    f->result[0] = (uint8_t)(st0 | cmd_unit(f)->head << 2 | (f->cmd[1] & 3));
    f->result[1] = st1;
    f->result[2] = st2;
    f->result[3] = f->x_cyl;
    f->result[4] = f->x_head;
    f->result[5] = f->x_sector;
    f->result[6] = f->x_size;
    if (f->cfg.dma)
        dma_set_dreq(f->cfg.dma, DMA_CHANNEL, false);
    give_result(f, 7);
    set_irq(f, true);
}

/* ---- transfers ------------------------------------------------------------------------------ */

static bool is_scan(const struct fdc *f)
{
    unsigned c = command(f);

    return c == C_SCAN_EQUAL || c == C_SCAN_LOW || c == C_SCAN_HIGH;
}

static bool is_write(const struct fdc *f)
{
    return command(f) == C_WRITE || command(f) == C_WRITE_DELETED;
}

/* The sector that the transfer stands at, in the image. False: no such ID on this track, and the
 * command has ended. */
static bool find_sector(struct fdc *f, uint64_t *offset)
{
    unsigned n = f->cmd[1] & 3;
    struct fdc_unit *u = &f->unit[n];

    if (!has_medium(f, n) || !rate_fits(f, u) || u->cyl >= u->cyls || u->head >= u->heads) {
        finish(f, ST0_ABNORMAL, ST1_MA, 0);
        return false;
    }
    if (f->x_cyl != u->cyl) {
        finish(f, ST0_ABNORMAL, ST1_ND, ST2_WC);
        return false;
    }
    if (f->x_head != u->head || f->x_size != 2 || !f->x_sector || f->x_sector > u->sectors) {
        finish(f, ST0_ABNORMAL, ST1_ND, 0);
        return false;
    }
    *offset = (((uint64_t)u->cyl * u->heads + u->head) * u->sectors + f->x_sector - 1) * SECTOR;
    u->sector = f->x_sector;
    return true;
}

static bool read_sector(struct fdc *f, uint64_t offset, uint8_t *buf)
{
    struct block_dev *b = f->cfg.media[f->cmd[1] & 3];

    if (offset + SECTOR > block_size(b)) { /* past a short image */
        memset(buf, 0, SECTOR);
        return true;
    }
    if (block_read(b, offset, buf, SECTOR))
        return true;
    LOG(f->dev.board->log, LOG_DISK, "fdc: read error at %llu", (unsigned long long)offset);
    finish(f, ST0_ABNORMAL, ST1_DE, ST2_DD);
    return false;
}

static bool write_sector(struct fdc *f, uint64_t offset, const uint8_t *buf)
{
    struct block_dev *b = f->cfg.media[f->cmd[1] & 3];

    if (offset + SECTOR <= block_size(b) && block_write(b, offset, buf, SECTOR))
        return true;
    LOG(f->dev.board->log, LOG_DISK, "fdc: write error at %llu", (unsigned long long)offset);
    finish(f, ST0_ABNORMAL, ST1_DE, ST2_DD);
    return false;
}

/* Moves the ID to the sector after this one (data sheet, table 5-6). True: it goes on there; false:
 * that was the last of the track (with MT: of the cylinder). */
static bool next_sector(struct fdc *f)
{
    unsigned step = is_scan(f) && f->cmd[8] == 2 ? 2 : 1;
    bool mt = (f->cmd[0] & CMD_MT) && command(f) != C_READ_TRACK;

    if (f->x_sector + step <= f->x_eot) {
        f->x_sector = (uint8_t)(f->x_sector + step);
        return true;
    }
    f->x_sector = 1;
    if (mt)
        f->x_head ^= 1;
    if (mt && f->x_head)
        return true;
    f->x_cyl++;
    return false;
}

/* After a sector: ends the command or waits for the next sector. */
static void advance(struct fdc *f)
{
    uint8_t st2 = command(f) == C_READ_DELETED ? ST2_CM : 0; /* every sector is an ordinary one */
    bool more = next_sector(f);

    if (is_scan(f) && (!f->x_unequal || f->x_tc || !more)) {
        finish(f, 0, 0, f->x_unequal ? ST2_SN : f->x_differs ? 0 : ST2_SH);
        return;
    }
    if (command(f) == C_VERIFY && (f->cmd[1] & CMD_EC) && --f->x_left == 0)
        f->x_tc = true;
    if (f->x_tc || st2) {
        finish(f, 0, 0, st2);
    } else if (more) {
        cmd_unit(f)->head = f->x_head;
        busy(f, SECTOR_NS);
    } else if (command(f) == C_VERIFY && !(f->cmd[1] & CMD_EC)) {
        finish(f, 0, 0, 0);
    } else {
        finish(f, ST0_ABNORMAL, ST1_EN, 0);
    }
}

static void compare(struct fdc *f, uint64_t offset)
{
    uint8_t disk[SECTOR];
    bool less = false, greater = false;

    if (!read_sector(f, offset, disk))
        return;
    for (unsigned i = 0; i < SECTOR; i++) {
        if (disk[i] == f->buf[i] || disk[i] == 0xff || f->buf[i] == 0xff)
            continue;
        if (!less && !greater) { /* the first difference decides */
            less = disk[i] < f->buf[i];
            greater = !less;
        }
    }
    f->x_differs = less || greater;
    f->x_unequal = (less && command(f) != C_SCAN_LOW) || (greater && command(f) != C_SCAN_HIGH);
    advance(f);
}

/* The sector in buf came whole from the guest. */
static void consume(struct fdc *f)
{
    uint64_t offset;

    if (!find_sector(f, &offset))
        return;
    if (is_scan(f))
        compare(f, offset);
    else if (write_sector(f, offset, f->buf))
        advance(f);
}

/* Opens port 3F5h for len bytes of buf. */
static void start_pio(struct fdc *f, enum fdc_phase phase, unsigned len)
{
    f->phase = phase;
    f->x_pos = 0;
    f->x_len = (uint16_t)len;
    set_irq(f, true);
}

/* Fetches len bytes into buf by DMA; false when the channel did not give them: an overrun, and the
 * command has ended. A terminal count in the middle fills up with zeros. */
static bool dma_fetch(struct fdc *f, unsigned len)
{
    bool tc = false;
    size_t n = 0;

    memset(f->buf, 0, sizeof(f->buf));
    if (f->cfg.dma && (f->dor & DOR_GATE))
        n = dma_transfer(f->cfg.dma, DMA_CHANNEL, f->buf, len, false, &tc);
    f->x_tc = tc;
    if (n == len || tc)
        return true;
    finish(f, ST0_ABNORMAL, ST1_OR, 0);
    return false;
}

static bool dma_give(struct fdc *f)
{
    bool tc = false;
    size_t n = 0;

    if (f->cfg.dma && (f->dor & DOR_GATE))
        n = dma_transfer(f->cfg.dma, DMA_CHANNEL, f->buf, SECTOR, true, &tc);
    f->x_tc = tc;
    if (n == SECTOR || tc)
        return true;
    finish(f, ST0_ABNORMAL, ST1_OR, 0);
    return false;
}

static void step_to_device(struct fdc *f)
{
    uint64_t offset;

    if (!find_sector(f, &offset))
        return;
    if (is_write(f) && cmd_unit(f)->readonly) {
        finish(f, ST0_ABNORMAL, ST1_NW, 0);
        return;
    }
    if (!dma_mode(f))
        start_pio(f, PH_OUT, SECTOR);
    else if (dma_fetch(f, SECTOR))
        consume(f);
}

static void step_from_device(struct fdc *f)
{
    uint64_t offset;

    if (!find_sector(f, &offset))
        return;
    if (command(f) == C_READ_DELETED && (f->cmd[0] & CMD_SK)) {
        advance(f); /* skipped: it is not deleted; advance ends with the CM flag */
        return;
    }
    if (!read_sector(f, offset, f->buf))
        return;
    if (command(f) == C_VERIFY)
        advance(f);
    else if (!dma_mode(f))
        start_pio(f, PH_IN, SECTOR);
    else if (dma_give(f))
        advance(f);
}

/* ---- FORMAT TRACK: four bytes of ID for each sector ------------------------------------------ */

static void format_sector(struct fdc *f)
{
    uint64_t offset;

    f->x_cyl = f->buf[0];
    f->x_head = f->buf[1];
    f->x_sector = f->buf[2];
    f->x_size = f->buf[3];
    if (!find_sector(f, &offset))
        return;
    memset(f->buf, f->cmd[5], SECTOR);
    if (!write_sector(f, offset, f->buf))
        return;
    if (--f->x_left == 0 || f->x_tc)
        finish(f, 0, 0, 0);
    else
        busy(f, SECTOR_NS);
}

static void step_format(struct fdc *f)
{
    if (!has_medium(f, f->cmd[1] & 3)) {
        finish(f, ST0_ABNORMAL, ST1_MA, 0);
    } else if (cmd_unit(f)->readonly) {
        finish(f, ST0_ABNORMAL, ST1_NW, 0);
    } else if (!f->cmd[3]) {
        finish(f, 0, 0, 0);
    } else if (!dma_mode(f)) {
        start_pio(f, PH_OUT, 4);
    } else if (dma_fetch(f, 4)) {
        format_sector(f);
    }
}

static void step_read_id(struct fdc *f)
{
    unsigned n = f->cmd[1] & 3;
    struct fdc_unit *u = &f->unit[n];

    if (!has_medium(f, n) || !rate_fits(f, u) || u->cyl >= u->cyls || u->head >= u->heads) {
        finish(f, ST0_ABNORMAL, ST1_MA, 0);
        return;
    }
    u->sector = u->sector >= u->sectors ? 1 : u->sector + 1;
    f->x_cyl = u->cyl;
    f->x_head = u->head;
    f->x_sector = u->sector;
    f->x_size = 2;
    finish(f, 0, 0, 0);
}

static void end_reset(struct fdc *f)
{
    await_command(f);
    /* Polling finds that all four drives changed their ready state (data sheet, 5.2.4). */
    for (unsigned i = 0; i < FDC_UNITS; i++)
        f->unit[i].st0 = (uint8_t)(ST0_POLLING | i);
    f->int_pending = BIT(FDC_UNITS) - 1;
    set_irq(f, true);
}

static void work_event(void *opaque)
{
    struct fdc *f = opaque;

    if (f->phase == PH_RESET) {
        end_reset(f);
        return;
    }
    if (f->phase != PH_BUSY)
        return;
    if (command(f) == C_FORMAT)
        step_format(f);
    else if (command(f) == C_READ_ID)
        step_read_id(f);
    else if (is_write(f) || is_scan(f))
        step_to_device(f);
    else
        step_from_device(f);
}

static void start_transfer(struct fdc *f)
{
    struct fdc_unit *u = cmd_unit(f);

    u->head = f->cmd[1] >> 2 & 1;
    f->x_cyl = f->cmd[2];
    f->x_head = f->cmd[3];
    f->x_sector = command(f) == C_READ_TRACK ? 1 : f->cmd[4];
    f->x_size = f->cmd[5];
    f->x_eot = f->cmd[6];
    f->x_left = f->cmd[8];
    f->x_tc = false;
    if ((f->config & CFG_IMPLIED_SEEK) && fitted(f, f->cmd[1] & 3)) {
        u->cyl = MIN(f->cmd[2], MAX_CYL);
        if (u->heads)
            u->changed = false;
    }
    if (f->cfg.dma && dma_mode(f))
        dma_set_dreq(f->cfg.dma, DMA_CHANNEL, true);
    busy(f, COMMAND_NS);
}

/* ---- commands without data ------------------------------------------------------------------ */

static void step_event(void *opaque)
{
    struct fdc_unit *u = opaque;
    struct fdc *f = u->fdc;
    unsigned n = (unsigned)(u - f->unit);

    u->cyl = u->seek_to;
    u->st0 = (uint8_t)(ST0_SE | n);
    if (!fitted(f, n)) {
        if (u->recalibrating) /* track 0 never came */
            u->st0 |= ST0_ABNORMAL | ST0_EC;
    } else {
        u->cyl = MIN(u->cyl, MAX_CYL);
        if (u->heads)
            u->changed = false; /* a step pulse with a disk in clears the line */
    }
    if (!u->recalibrating)
        u->st0 |= (uint8_t)(u->head << 2);
    f->int_pending |= BIT(n);
    set_irq(f, true);
}

static void start_seek(struct fdc *f, unsigned to, bool recalibrate)
{
    unsigned n = f->cmd[1] & 3;
    struct fdc_unit *u = &f->unit[n];
    unsigned distance = to > u->cyl ? to - u->cyl : u->cyl - to;

    u->seek_to = (uint8_t)to;
    u->recalibrating = recalibrate;
    u->head = recalibrate ? 0 : f->cmd[1] >> 2 & 1;
    f->seeking |= BIT(n);
    f->int_pending &= ~BIT(n);
    event_in(&u->step, (distance + 1) * STEP_NS);
    await_command(f);
}

static void seek(struct fdc *f)
{
    int cyl = f->cmd[2];

    if (f->cmd[0] & 0x80) { /* relative: bit 6 is the direction */
        cyl = cmd_unit(f)->cyl + (f->cmd[0] & 0x40 ? cyl : -cyl);
        cyl = cyl < 0 ? 0 : MIN(cyl, 255);
    }
    start_seek(f, (unsigned)cyl, false);
}

static void sense_interrupt(struct fdc *f)
{
    set_irq(f, false);
    for (unsigned i = 0; i < FDC_UNITS; i++) {
        struct fdc_unit *u = &f->unit[i];
        if (!(f->int_pending & BIT(i)))
            continue;
        f->int_pending &= ~BIT(i);
        f->seeking &= ~BIT(i);
        f->result[0] = u->st0;
        f->result[1] = u->cyl;
        give_result(f, 2);
        return;
    }
    f->result[0] = ST0_INVALID;
    give_result(f, 1);
}

static void sense_drive(struct fdc *f)
{
    unsigned n = f->cmd[1] & 3;
    struct fdc_unit *u = &f->unit[n];

    u->head = f->cmd[1] >> 2 & 1;
    f->result[0] = (uint8_t)(ST3_READY | ST3_TWO_SIDE | u->head << 2 | n);
    if (fitted(f, n) && u->cyl == 0)
        f->result[0] |= ST3_TRACK0;
    if (u->readonly)
        f->result[0] |= ST3_WP;
    give_result(f, 1);
}

static void dump_registers(struct fdc *f)
{
    uint8_t *r = f->result;

    for (unsigned i = 0; i < FDC_UNITS; i++)
        r[i] = f->unit[i].cyl;
    r[4] = f->srt_hut;
    r[5] = f->hlt_nd;
    r[6] = f->x_eot;
    r[7] = (uint8_t)(f->locked << 7 | (f->perp & 0x3f));
    r[8] = f->config;
    r[9] = f->pretrk;
    give_result(f, 10);
}

/* ---- the command table ---------------------------------------------------------------------- */

static void specify(struct fdc *f)
{
    f->srt_hut = f->cmd[1];
    f->hlt_nd = f->cmd[2];
    await_command(f);
}

static void configure(struct fdc *f)
{
    f->config = f->cmd[2] & 0x7f;
    f->pretrk = f->cmd[3];
    await_command(f);
}

/* OW (bit 7) lets the drive bits through. */
static void perpendicular(struct fdc *f)
{
    f->perp = f->cmd[1] & 0x80 ? f->cmd[1] & 0x7f : (f->perp & 0x7c) | (f->cmd[1] & 0x03);
    await_command(f);
}

static void lock(struct fdc *f)
{
    f->locked = f->cmd[0] >> 7;
    f->result[0] = (uint8_t)(f->locked << 4);
    give_result(f, 1);
}

static void recalibrate(struct fdc *f)
{
    start_seek(f, 0, true);
}

static void version(struct fdc *f)
{
    f->result[0] = 0x90; /* enhanced controller */
    give_result(f, 1);
}

static void format(struct fdc *f)
{
    cmd_unit(f)->head = f->cmd[1] >> 2 & 1;
    f->x_size = f->cmd[2];
    f->x_left = f->cmd[3];
    f->x_tc = false;
    f->x_cyl = f->x_head = f->x_sector = 0;
    busy(f, COMMAND_NS);
}

static void read_id(struct fdc *f)
{
    cmd_unit(f)->head = f->cmd[1] >> 2 & 1;
    f->x_cyl = f->x_head = f->x_sector = f->x_size = 0;
    busy(f, COMMAND_NS);
}

/* Bits of the first byte that are not the command: those in `options` may be anything, the others
 * must be 0. */
static const struct {
    uint8_t code, options, len;
    void (*run)(struct fdc *f);
} commands[] = {
    {C_READ_TRACK, 0x60, 9, start_transfer},
    {C_SPECIFY, 0x00, 3, specify},
    {C_SENSE_DRIVE, 0x00, 2, sense_drive},
    {C_WRITE, 0xc0, 9, start_transfer},
    {C_READ, 0xe0, 9, start_transfer},
    {C_RECALIBRATE, 0x00, 2, recalibrate},
    {C_SENSE_INT, 0x00, 1, sense_interrupt},
    {C_WRITE_DELETED, 0xc0, 9, start_transfer},
    {C_READ_ID, 0x40, 2, read_id},
    {C_READ_DELETED, 0xe0, 9, start_transfer},
    {C_FORMAT, 0x40, 6, format},
    {C_DUMPREG, 0x00, 1, dump_registers},
    {C_SEEK, 0xc0, 3, seek},
    {C_VERSION, 0x00, 1, version},
    {C_SCAN_EQUAL, 0xe0, 9, start_transfer},
    {C_PERPENDICULAR, 0x00, 2, perpendicular},
    {C_CONFIGURE, 0x00, 4, configure},
    {C_LOCK, 0x80, 1, lock},
    {C_VERIFY, 0xe0, 9, start_transfer},
    {C_SCAN_LOW, 0xe0, 9, start_transfer},
    {C_SCAN_HIGH, 0xe0, 9, start_transfer},
};

/* The row of a first byte; ARRAY_LEN(commands) if there is none. */
static size_t find_command(uint8_t first)
{
    size_t i;

    for (i = 0; i < ARRAY_LEN(commands); i++)
        if (commands[i].code == (first & ~commands[i].options))
            break;
    return i;
}

static void invalid_command(struct fdc *f)
{
    LOG(f->dev.board->log, LOG_GUEST_ERROR, "fdc: invalid command %02x", f->cmd[0]);
    f->result[0] = ST0_INVALID;
    give_result(f, 1);
}

static void command_byte(struct fdc *f, uint8_t v)
{
    size_t i;

    f->cmd[f->cmd_len++] = v;
    i = find_command(f->cmd[0]);
    if (i == ARRAY_LEN(commands)) {
        invalid_command(f);
        return;
    }
    f->cmd_want = commands[i].len;
    if (f->cmd_len == f->cmd_want)
        commands[i].run(f);
}

/* ---- registers ------------------------------------------------------------------------------ */

static void start_reset(struct fdc *f)
{
    f->phase = PH_RESET;
    f->int_pending = 0;
    f->seeking = 0;
    f->cmd_len = f->cmd_want = 0;
    f->result_pos = f->result_len = 0;
    f->x_pos = f->x_len = 0;
    if (!f->locked) { /* the FIFO goes back to how an 8272A looks */
        f->config = (f->config & ~0x2f) | CFG_EFIFO_OFF;
        f->pretrk = 0;
    }
    f->perp &= 0x7c; /* GAP and WGATE */
    for (unsigned i = 0; i < FDC_UNITS; i++)
        event_cancel(&f->unit[i].step);
    event_cancel(&f->work);
    set_irq(f, false);
    if (f->cfg.dma)
        dma_set_dreq(f->cfg.dma, DMA_CHANNEL, false);
}

static void write_dor(struct fdc *f, uint8_t v)
{
    uint8_t changed = f->dor ^ v;

    f->dor = v;
    if (changed & DOR_NRESET) {
        start_reset(f);
        if (v & DOR_NRESET)
            event_in(&f->work, RESET_NS);
    }
    if (!(v & DOR_GATE))
        set_irq(f, false);
}

static void write_dsr(struct fdc *f, uint8_t v)
{
    f->dsr = v & 0x7f;
    f->ccr = v & 3;
    if ((v & 0x80) && (f->dor & DOR_NRESET)) {
        start_reset(f);
        event_in(&f->work, RESET_NS);
    }
}

static uint8_t read_msr(const struct fdc *f)
{
    uint8_t v = f->seeking;

    switch (f->phase) {
    case PH_COMMAND:
        return v | MSR_RQM | (f->cmd_len ? MSR_BUSY : 0);
    case PH_BUSY:
        return v | MSR_BUSY | (dma_mode(f) ? 0 : MSR_NDMA);
    case PH_IN:
        return v | MSR_RQM | MSR_DIO | MSR_NDMA | MSR_BUSY;
    case PH_OUT:
        return v | MSR_RQM | MSR_NDMA | MSR_BUSY;
    case PH_RESULT:
        return v | MSR_RQM | MSR_DIO | MSR_BUSY;
    default:
        return 0;
    }
}

static void write_fifo(struct fdc *f, uint8_t v)
{
    if (f->phase == PH_COMMAND) {
        command_byte(f, v);
    } else if (f->phase == PH_OUT) {
        set_irq(f, false);
        f->buf[f->x_pos++] = v;
        if (f->x_pos < f->x_len)
            set_irq(f, true);
        else if (command(f) == C_FORMAT)
            format_sector(f);
        else
            consume(f);
    }
}

static uint8_t read_fifo(struct fdc *f)
{
    uint8_t v = 0xff;

    if (f->phase == PH_RESULT) {
        v = f->result[f->result_pos++];
        set_irq(f, false);
        if (f->result_pos >= f->result_len) {
            await_command(f);
            /* A seek that ended meanwhile still has something to say. */
            if (f->int_pending & f->seeking)
                set_irq(f, true);
        }
    } else if (f->phase == PH_IN) {
        v = f->buf[f->x_pos++];
        set_irq(f, false);
        if (f->x_pos < f->x_len)
            set_irq(f, true);
        else
            advance(f);
    }
    return v;
}

/* Bit 7 is the selected drive's change line, which needs its motor on; the rest of the port belongs
 * to the hard disk controller, or floats. */
static uint8_t read_dir(const struct fdc *f)
{
    unsigned n = f->dor & DOR_SELECT;

    if (!(f->dor & DOR_MOTOR0 << n) || !fitted(f, n))
        return 0x7f;
    return f->unit[n].changed ? 0xff : 0x7f;
}

static uint64_t fdc_read(void *opaque, uint64_t offset, unsigned size)
{
    struct fdc *f = opaque;

    switch (offset) {
    case 2:
        return f->dor;
    case 3:
        return f->tdr | 0xfc;
    case 4:
        return read_msr(f);
    case 5:
        return read_fifo(f);
    default:
        return 0xff;
    }
}

static void fdc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct fdc *f = opaque;

    switch (offset) {
    case 2:
        write_dor(f, (uint8_t)value);
        break;
    case 3:
        f->tdr = value & 3;
        break;
    case 4:
        write_dsr(f, (uint8_t)value);
        break;
    case 5:
        write_fifo(f, (uint8_t)value);
        break;
    default:
        break;
    }
}

static uint64_t dir_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_dir(opaque);
}

static void ccr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    ((struct fdc *)opaque)->ccr = value & 3;
}

static const struct io_ops fdc_ops = {"fdc", fdc_read, fdc_write, 1, 1};
static const struct io_ops dir_ops = {"fdc", dir_read, ccr_write, 1, 1};

static bool fdc_init(struct device *dev, struct error *err)
{
    struct fdc *f = (struct fdc *)dev;

    event_init(&f->work, dev->board->clock, "fdc", 0, work_event, f);
    for (unsigned i = 0; i < FDC_UNITS; i++) {
        f->unit[i].fdc = f;
        event_init(&f->unit[i].step, dev->board->clock, "fdc seek", 0, step_event, &f->unit[i]);
    }
    portmap_add(dev->board->ports, 0x3f0, 6, &fdc_ops, f);
    portmap_add(dev->board->ports, 0x3f7, 1, &dir_ops, f);
    if (f->cfg.drives > FDC_DRIVES)
        return error_set(err, ERR_INVALID, "%s: %u floppy drives: at most %d", dev->id,
                         f->cfg.drives, FDC_DRIVES);
    for (unsigned i = 0; i < f->cfg.drives; i++) {
        if (!fdc_set_media(f, i, f->cfg.media[i]))
            return error_set(err, ERR_FORMAT,
                             "%s: %llu bytes is no floppy's size: at most 2949120, a multiple of "
                             "512",
                             dev->id, (unsigned long long)block_size(f->cfg.media[i]));
    }
    return true;
}

static void fdc_reset(struct device *dev, enum reset_kind kind)
{
    struct fdc *f = (struct fdc *)dev;

    if (kind == RESET_INIT)
        return;
    f->locked = false;
    f->config = 0;
    f->perp = 0;
    f->dor = f->dsr = f->tdr = 0;
    f->ccr = 2; /* 250 kbit/s (data sheet, 2.1.6) */
    f->srt_hut = f->hlt_nd = 0;
    start_reset(f); /* and stays there until the guest sets NRESET */
}

static void fdc_fini(struct device *dev)
{
    struct fdc *f = (struct fdc *)dev;

    portmap_remove(dev->board->ports, 0x3f0, 6, f);
    portmap_remove(dev->board->ports, 0x3f7, 1, f);
    event_cancel(&f->work);
    for (unsigned i = 0; i < FDC_UNITS; i++)
        event_cancel(&f->unit[i].step);
}

const struct device_class fdc_class = {
    .name = "fdc",
    .size = sizeof(struct fdc),
    .vmstate = &vm_fdc,
    .init = fdc_init,
    .reset = fdc_reset,
    .fini = fdc_fini,
};
