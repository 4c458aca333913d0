/* VGA: registers, ports 3B0-3DF, retrace timing, the device class.
 *
 * Sources: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem (1992); FreeVGA.
 * The parts are listed in vga_internal.h. Registers keep what the guest wrote, masked to the bits
 * that exist; what they mean is worked out where it is needed, so that no order of writes can leave
 * derived state behind.
 *
 * Known inaccuracies: the picture is taken at the moment of rendering, so changes in the middle of
 * a frame (palette splits) show for the whole frame; the border is not part of the picture; no
 * interlace, no skew of display enable; light pen absent; the interrupt of IRQ 2 is only a status
 * bit, as on most cards after the EGA; palette registers may be written while the screen is on;
 * chain-4 packs its bytes (as SVGA chips do), which shows only when a program writes in chain-4 and
 * displays in another addressing mode.
 */
#include "devices/vga_internal.h"

enum {
    MISC_COLOR = 0x01, /* CRTC and status at 3Dx instead of 3Bx */
    CR11_PROTECT = 0x80,
    CR11_INT_DISABLE = 0x20,
    CR11_INT_CLEAR_N = 0x10,
    ST1_DISPLAY_OFF = 0x01,
    ST1_RETRACE = 0x08,
};

static const uint8_t sr_mask[SR_COUNT] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0xff};
static const uint8_t gr_mask[GR_COUNT] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};

/* ---- timing ------------------------------------------------------------------------------------ */

struct timing {
    uint64_t line_ns, frame_ns;
    uint32_t h_total, h_display; /* character clocks */
    uint32_t v_display, v_retrace_start, v_retrace_len, v_total;
};

static void timing_get(const struct vga *v, struct timing *t)
{
    uint8_t overflow = v->cr[CR_OVERFLOW];

    /* Selections 2 and 3 are oscillators that only SVGA boards have. */
    uint64_t hz = (v->misc >> 2 & 3) == 1 ? 28322000 : 25175000;
    if (v->sr[SR_CLOCKING] & 0x08)
        hz /= 2;
    uint32_t dots = v->sr[SR_CLOCKING] & 1 ? 8 : 9;

    t->h_total = v->cr[CR_H_TOTAL] + 5u;
    t->h_display = v->cr[CR_H_DISPLAY_END] + 1u;
    t->v_total = (v->cr[CR_V_TOTAL] | (overflow & 0x01u) << 8 | (overflow & 0x20u) << 4) + 2;
    t->v_display = (v->cr[CR_V_DISPLAY_END] | (overflow & 0x02u) << 7 | (overflow & 0x40u) << 3) + 1;
    t->v_retrace_start =
        v->cr[CR_V_RETRACE_START] | (overflow & 0x04u) << 6 | (overflow & 0x80u) << 2;
    /* The end register holds the low four bits of the line on which retrace ends. */
    t->v_retrace_len = ((v->cr[CR_V_RETRACE_END] & 15) - t->v_retrace_start) & 15;
    if (t->v_retrace_len == 0)
        t->v_retrace_len = 16;

    t->line_ns = t->h_total * dots * NS_PER_SEC / hz;
    t->frame_ns = t->line_ns * t->v_total;
    /* A CRTC that nobody has programmed, or only with nonsense, still has to show retraces to
     * programs that wait for them. */
    if (t->frame_ns < NS_PER_SEC / 400 || t->frame_ns > NS_PER_SEC / 10 ||
        t->v_retrace_start >= t->v_total || t->v_display > t->v_total ||
        t->h_display > t->h_total) {
        *t = (struct timing){.h_total = 100, .h_display = 80, .v_display = 480,
                             .v_retrace_start = 490, .v_retrace_len = 2, .v_total = 525};
        t->line_ns = NS_PER_SEC / 60 / 525;
        t->frame_ns = t->line_ns * 525;
    }
}

uint64_t vga_frame_number(struct vga *v)
{
    struct timing t;
    timing_get(v, &t);
    return clock_now(v->dev.board->clock) / t.frame_ns;
}

/* Frames whose retrace has begun. */
static uint64_t retrace_number(struct vga *v)
{
    struct timing t;
    timing_get(v, &t);
    uint64_t before = (t.v_total - t.v_retrace_start) * t.line_ns;
    return (clock_now(v->dev.board->clock) + before) / t.frame_ns;
}

static uint8_t input_status_0(struct vga *v)
{
    uint8_t st = 0x10; /* the comparator of the DAC answers: a colour monitor is there */
    uint8_t r11 = v->cr[CR_V_RETRACE_END];
    if (!(r11 & CR11_INT_DISABLE) && (r11 & CR11_INT_CLEAR_N) &&
        retrace_number(v) > v->retrace_cleared)
        st |= 0x80;
    return st;
}

static uint8_t input_status_1(struct vga *v)
{
    struct timing t;
    timing_get(v, &t);
    uint64_t in_frame = clock_now(v->dev.board->clock) % t.frame_ns;
    uint32_t line = (uint32_t)(in_frame / t.line_ns);
    uint64_t in_line = in_frame % t.line_ns;

    uint8_t st = 0;
    if (line >= t.v_display || in_line * t.h_total >= (uint64_t)t.h_display * t.line_ns)
        st |= ST1_DISPLAY_OFF;
    if ((line + t.v_total - t.v_retrace_start) % t.v_total < t.v_retrace_len)
        st |= ST1_RETRACE;
    /* Bits 5:4 return two of the attribute outputs, as the video mux selects; outside the picture
     * that is the border colour, which is when diagnostics look. */
    static const uint8_t mux[4][2] = {{0, 2}, {4, 5}, {1, 3}, {6, 7}};
    const uint8_t *sel = mux[v->ar[AR_PLANE_ENABLE] >> 4 & 3];
    uint8_t color = v->ar[AR_OVERSCAN];
    st |= (uint8_t)((color >> sel[0] & 1) << 4 | (color >> sel[1] & 1) << 5);
    v->ar_flip_flop = 0;
    return st;
}

/* ---- registers --------------------------------------------------------------------------------- */

static uint8_t crtc_read(struct vga *v)
{
    switch (v->cr_index) {
    case CR_LATCH:
        return (uint8_t)(v->latch >> (v->gr[GR_READ_MAP] & 3) * 8);
    case CR_ATTR_STATE:
        return (uint8_t)(v->ar_flip_flop << 7);
    default:
        return v->cr_index < CR_COUNT ? v->cr[v->cr_index] : 0;
    }
}

static void crtc_write(struct vga *v, uint8_t value)
{
    unsigned n = v->cr_index;
    if (n >= CR_COUNT)
        return;
    if (n <= CR_OVERFLOW && (v->cr[CR_V_RETRACE_END] & CR11_PROTECT)) {
        /* Protected, but for line compare bit 8. */
        if (n == CR_OVERFLOW)
            v->cr[n] = (uint8_t)((v->cr[n] & ~0x10) | (value & 0x10));
        return;
    }
    v->cr[n] = value;
    if (n == CR_V_RETRACE_END && !(value & CR11_INT_CLEAR_N))
        v->retrace_cleared = retrace_number(v);
}

static void attribute_write(struct vga *v, uint8_t value)
{
    if (!v->ar_flip_flop) {
        v->ar_index = value & 0x3f;
    } else {
        unsigned n = v->ar_index & 0x1f;
        if (n < AR_MODE)
            v->ar[n] = value & 0x3f;
        else if (n < AR_COUNT)
            v->ar[n] = value;
    }
    v->ar_flip_flop ^= 1;
}

static void dac_step(struct vga *v, uint8_t *index)
{
    if (++v->dac_component == 3) {
        v->dac_component = 0;
        ++*index;
    }
}

/* CRTC ports and status 1 answer at 3Dx or 3Bx, never both. */
static bool crtc_decoded(const struct vga *v, unsigned port)
{
    return (port >= 0x3d0) == !!(v->misc & MISC_COLOR);
}

uint8_t vga_port_read(struct vga *v, unsigned port)
{
    unsigned n;
    uint8_t r;

    switch (port) {
    case 0x3b4:
    case 0x3d4:
        return crtc_decoded(v, port) ? v->cr_index : 0xff;
    case 0x3b5:
    case 0x3d5:
        return crtc_decoded(v, port) ? crtc_read(v) : 0xff;
    case 0x3ba:
    case 0x3da:
        return crtc_decoded(v, port) ? input_status_1(v) : 0xff;
    case 0x3c0:
        return v->ar_flip_flop ? 0 : v->ar_index;
    case 0x3c1:
        n = v->ar_index & 0x1f;
        return n < AR_COUNT ? v->ar[n] : 0;
    case 0x3c2:
        return input_status_0(v);
    case 0x3c3:
        return v->enable;
    case 0x3c4:
        return v->sr_index;
    case 0x3c5:
        return v->sr_index < SR_COUNT ? v->sr[v->sr_index] : 0;
    case 0x3c6:
        return v->dac_mask;
    case 0x3c7:
        return v->dac_state;
    case 0x3c8:
        return v->dac_write_index;
    case 0x3c9:
        r = v->dac[v->dac_read_index * 3 + v->dac_component];
        dac_step(v, &v->dac_read_index);
        return r;
    case 0x3ca:
        return v->feature;
    case 0x3cc:
        return v->misc;
    case 0x3ce:
        return v->gr_index;
    case 0x3cf:
        return v->gr_index < GR_COUNT ? v->gr[v->gr_index] : 0;
    default:
        return 0xff;
    }
}

void vga_port_write(struct vga *v, unsigned port, uint8_t value)
{
    switch (port) {
    case 0x3b4:
    case 0x3d4:
        if (crtc_decoded(v, port))
            v->cr_index = value;
        break;
    case 0x3b5:
    case 0x3d5:
        if (crtc_decoded(v, port))
            crtc_write(v, value);
        break;
    case 0x3ba:
    case 0x3da:
        if (crtc_decoded(v, port))
            v->feature = value;
        break;
    case 0x3c0:
    case 0x3c1: /* the EGA decoded both alike; programs that write words to 3C0 rely on it */
        attribute_write(v, value);
        break;
    case 0x3c2:
        v->misc = value;
        LOG(v->dev.board->log, LOG_VGA, "misc output %02x", value);
        vga_mem_update(v);
        break;
    case 0x3c3:
        v->enable = value & 1;
        break;
    case 0x3c4:
        v->sr_index = value;
        break;
    case 0x3c5:
        if (v->sr_index < SR_COUNT) {
            v->sr[v->sr_index] = value & sr_mask[v->sr_index];
            if (v->sr_index == SR_MAP_MASK || v->sr_index == SR_MEMORY_MODE)
                vga_mem_update(v);
        }
        break;
    case 0x3c6:
        v->dac_mask = value;
        break;
    case 0x3c7:
        v->dac_read_index = value;
        v->dac_component = 0;
        v->dac_state = 3;
        break;
    case 0x3c8:
        v->dac_write_index = value;
        v->dac_component = 0;
        v->dac_state = 0;
        break;
    case 0x3c9:
        if (!(v->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC))
            value &= 0x3f;
        v->dac[v->dac_write_index * 3 + v->dac_component] = value;
        dac_step(v, &v->dac_write_index);
        break;
    case 0x3ce:
        v->gr_index = value;
        break;
    case 0x3cf:
        if (v->gr_index < GR_COUNT) {
            v->gr[v->gr_index] = value & gr_mask[v->gr_index];
            vga_mem_update(v);
        }
        break;
    default:
        break;
    }
}

/* One registration a decoded range, because printers live between 3B0 and 3BF. */
static uint64_t mono_read(void *opaque, uint64_t offset, unsigned size)
{
    return vga_port_read(opaque, 0x3b4 + (unsigned)offset);
}

static void mono_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    vga_port_write(opaque, 0x3b4 + (unsigned)offset, (uint8_t)value);
}

static uint64_t main_read(void *opaque, uint64_t offset, unsigned size)
{
    return vga_port_read(opaque, 0x3c0 + (unsigned)offset);
}

static void main_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    vga_port_write(opaque, 0x3c0 + (unsigned)offset, (uint8_t)value);
}

static const struct io_ops mono_ops = {"vga", mono_read, mono_write, 1, 1};
static const struct io_ops main_ops = {"vga", main_read, main_write, 1, 1};

/* ---- the device -------------------------------------------------------------------------------- */

void vga_configure(struct vga *v, const struct vga_config *cfg)
{
    v->cfg = *cfg;
}

uint64_t vga_vram_ra(const struct vga *v)
{
    return v->vram_ra;
}

uint32_t vga_vram_size(const struct vga *v)
{
    return v->vram_size;
}

static bool vga_init(struct device *dev, struct error *err)
{
    struct vga *v = CONTAINER_OF(dev, struct vga, dev);

    if (!vga_mem_init(v, err) || !vga_display_init(v, err) || !vga_pci_init(v, err))
        return false;
    portmap_add(dev->board->ports, 0x3b4, 7, &mono_ops, v);
    portmap_add(dev->board->ports, 0x3c0, 0x20, &main_ops, v);
    portmap_add(dev->board->ports, 0x1ce, 3, &vga_dispi_port_ops, v);
    v->ports_added = true;
    return true;
}

static void vga_reset(struct device *dev, enum reset_kind kind)
{
    struct vga *v = CONTAINER_OF(dev, struct vga, dev);

    if (kind == RESET_INIT)
        return;
    v->sr_index = v->gr_index = v->cr_index = v->ar_index = v->ar_flip_flop = 0;
    memset(v->sr, 0, sizeof(v->sr));
    memset(v->gr, 0, sizeof(v->gr));
    memset(v->cr, 0, sizeof(v->cr));
    memset(v->ar, 0, sizeof(v->ar));
    memset(v->dac, 0, sizeof(v->dac));
    v->misc = v->feature = 0;
    v->enable = 1;
    v->dac_read_index = v->dac_write_index = v->dac_component = v->dac_state = 0;
    v->dac_mask = 0xff;
    v->big_endian = 0;
    v->latch = 0;
    v->retrace_cleared = 0;
    vga_dispi_reset(v);
    if (v->pci_added)
        pci_reset(&v->pci);
    vga_mem_update(v);
    v->display.force = true;
}

static void vga_fini(struct device *dev)
{
    struct vga *v = CONTAINER_OF(dev, struct vga, dev);

    if (v->ports_added) {
        portmap_remove(dev->board->ports, 0x3b4, 7, v);
        portmap_remove(dev->board->ports, 0x3c0, 0x20, v);
        portmap_remove(dev->board->ports, 0x1ce, 3, v);
        v->ports_added = false;
    }
    vga_pci_fini(v);
    vga_mem_fini(v);
    vga_display_fini(v);
}

/* Indices and modes are used as they are, so a file must not bring wrong ones. */
static bool vga_post_load(void *obj)
{
    struct vga *v = obj;
    if (v->dac_component > 2 || v->ar_flip_flop > 1 || !vga_dispi_loaded(v))
        return false;
    for (unsigned i = 0; i < SR_COUNT; i++)
        v->sr[i] &= sr_mask[i];
    for (unsigned i = 0; i < GR_COUNT; i++)
        v->gr[i] &= gr_mask[i];
    for (unsigned i = 0; i < AR_MODE; i++)
        v->ar[i] &= 0x3f;
    vga_mem_update(v);
    v->display.force = true;
    return true;
}

static const struct vm_field vga_fields[] = {
    VM_DEVICE(struct vga),
    VM_SKIP(struct vga, cfg, "configuration"),
    VM_INT(struct vga, sr_index),
    VM_BYTES(struct vga, sr),
    VM_INT(struct vga, gr_index),
    VM_BYTES(struct vga, gr),
    VM_INT(struct vga, cr_index),
    VM_BYTES(struct vga, cr),
    VM_INT(struct vga, ar_index),
    VM_BYTES(struct vga, ar),
    VM_INT(struct vga, ar_flip_flop),
    VM_INT(struct vga, misc),
    VM_INT(struct vga, feature),
    VM_INT(struct vga, enable),
    VM_INT(struct vga, dac_read_index),
    VM_INT(struct vga, dac_write_index),
    VM_INT(struct vga, dac_component),
    VM_INT(struct vga, dac_state),
    VM_INT(struct vga, dac_mask),
    VM_BYTES(struct vga, dac),
    VM_INT(struct vga, big_endian),
    VM_INT(struct vga, latch),
    VM_INT(struct vga, retrace_cleared),
    VM_INT(struct vga, dispi_index),
    VM_INTS(struct vga, dispi, uint16_t),
    VM_SKIP(struct vga, vram_size, "configuration"),
    VM_SKIP(struct vga, vram_mask, "configuration"),
    VM_SKIP(struct vga, word_mask, "configuration"),
    VM_SKIP(struct vga, vram_ra, "wiring; the store is saved whole"),
    VM_SKIP(struct vga, rom_ra, "wiring; the store is saved whole"),
    VM_SKIP(struct vga, rom_size, "configuration"),
    VM_SKIP(struct vga, vram, "wiring; the store is saved whole"),
    VM_SKIP(struct vga, window, "wiring"),
    VM_SKIP(struct vga, direct, "follows from the registers"),
    VM_SKIP(struct vga, ports_added, "wiring"),
    VM_STRUCT(struct vga, pci, &vm_pci_device),
    VM_SKIP(struct vga, pci_added, "wiring"),
    VM_SKIP(struct vga, display, "host side; drawn again"),
    VM_END,
};
static const struct vmstate vm_vga =
    VMSTATE_HOOKS("vga", struct vga, vga_fields, NULL, vga_post_load);

const struct device_class vga_class = {
    .name = "vga",
    .size = sizeof(struct vga),
    .vmstate = &vm_vga,
    .init = vga_init,
    .reset = vga_reset,
    .fini = vga_fini,
};
