/* The window: SDL's events to the guest, the guest's screen to SDL.
 *
 * SDL wants the main thread, and presenting may wait for the display, so the machine runs on a
 * thread of its own. Between the two stands struct window, under its lock: a queue of what the user
 * did, emptied between slices of the run, and a copy of the last picture. Whoever has news for the
 * main thread wakes it with an SDL event.
 */
#include <SDL.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "frontend/frontend.h"
#include "frontend/keymap.h"
#include "frontend/overlay_font.h"
#include "frontend/overlay_list.h"
#include "frontend/png.h"
#include "frontend/terminal.h"

#define QUEUE_LEN      256
#define FRAME_MS       16
#define TITLE_MS       1000
#define NOTE_MS        4000
#define DEFAULT_WIDTH  720
#define DEFAULT_HEIGHT 400

enum input_kind {
    INPUT_KEY, INPUT_MOUSE, INPUT_RESET, INPUT_POWER, INPUT_SAVE, INPUT_RESTORE, INPUT_QUIT
};
struct input {
    enum input_kind kind;
    unsigned code; /* scan code or mouse buttons */
    int dx, dy, dz;
    bool down;
};

struct window {
    struct session session;

    /* Shared with the machine's thread, under lock. */
    SDL_mutex *lock;
    struct input queue[QUEUE_LEN];
    unsigned queued;
    uint32_t *pixels;
    size_t capacity; /* of pixels */
    unsigned width, height;
    bool blank, fresh; /* fresh: not yet taken by the main thread */
    tnm_stats stats;
    char restore_path[SAVER_PATH]; /* of INPUT_RESTORE */
    char message[256];             /* what became of a snapshot; "": nothing new */
    bool done;

    /* The main thread's. */
    Uint32 wake_event;
    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture *texture;
    unsigned texture_width, texture_height;
    int asked_width, asked_height; /* the window size we last set */
    bool user_sized, captured, fullscreen;
    unsigned buttons;
    bool down[512]; /* scan codes pressed in the guest */
    tnm_stats last_stats;
    Uint32 last_title;
    struct overlay_list *list; /* of snapshots, while it is shown */
    char note[256];
    Uint32 note_until;
    bool note_shown;
};

/* ---- the machine's thread ---------------------------------------------------------------------- */

static void wake(struct window *w)
{
    SDL_Event e = {.type = w->wake_event};
    SDL_PushEvent(&e);
}

/* Tells the main thread, and stderr. */
static void report(void *opaque, bool ok, const char *text)
{
    struct window *w = opaque;

    fprintf(stderr, "tinamou: %s\n", text);
    SDL_LockMutex(w->lock);
    snprintf(w->message, sizeof(w->message), "%s", text);
    SDL_UnlockMutex(w->lock);
    wake(w);
}

static void restore_snapshot(struct window *w)
{
    char path[SAVER_PATH], text[SAVER_PATH + 600];
    tnm_error err = {0};

    SDL_LockMutex(w->lock);
    memcpy(path, w->restore_path, sizeof(path));
    SDL_UnlockMutex(w->lock);
    tnm_snapshot *s = tnm_snapshot_open(path, &err);
    bool ok = s && tnm_snapshot_restore(w->session.machine, s,
                                        &(tnm_restore_options){.verify = true}, &err);
    if (s)
        tnm_snapshot_close(s);
    if (ok)
        snprintf(text, sizeof(text), "restored %s", path);
    else
        snprintf(text, sizeof(text), "not restored: %s", err.text);
    report(w, ok, text);
}

static void deliver_input(struct window *w)
{
    struct input queue[QUEUE_LEN];
    tnm_machine *m = w->session.machine;

    SDL_LockMutex(w->lock);
    unsigned n = w->queued;
    memcpy(queue, w->queue, n * sizeof(queue[0]));
    w->queued = 0;
    SDL_UnlockMutex(w->lock);

    for (unsigned i = 0; i < n; i++) {
        const struct input *in = &queue[i];
        switch (in->kind) {
        case INPUT_KEY:
            tnm_key(m, in->code, in->down);
            break;
        case INPUT_MOUSE:
            tnm_mouse(m, in->dx, in->dy, in->dz, in->code);
            break;
        case INPUT_RESET:
            tnm_reset(m);
            break;
        case INPUT_POWER:
            tnm_power_button(m);
            break;
        case INPUT_SAVE:
            saver_request(&w->session.saver);
            break;
        case INPUT_RESTORE:
            restore_snapshot(w);
            break;
        case INPUT_QUIT:
            w->session.quit = true;
            break;
        }
    }
}

static void publish_frame(struct window *w)
{
    tnm_screen screen;
    tnm_get_screen(w->session.machine, &screen);
    size_t count = (size_t)screen.width * screen.height;

    SDL_LockMutex(w->lock);
    tnm_get_stats(w->session.machine, &w->stats);
    if (count > w->capacity) {
        uint32_t *p = realloc(w->pixels, count * sizeof(*p));
        if (p) {
            w->pixels = p;
            w->capacity = count;
        }
    }
    bool news = count > 0 && count <= w->capacity &&
                (screen.changed || screen.width != w->width || screen.height != w->height);
    bool waking = news && !w->fresh;
    if (news) {
        memcpy(w->pixels, screen.pixels, count * sizeof(*w->pixels));
        w->width = screen.width;
        w->height = screen.height;
        w->fresh = true;
    }
    w->blank = screen.blank;
    SDL_UnlockMutex(w->lock);
    if (waking)
        wake(w);
}

static int machine_thread(void *opaque)
{
    struct window *w = opaque;
    Uint32 next = 0;

    while (session_step(&w->session)) {
        deliver_input(w);
        if (SDL_TICKS_PASSED(SDL_GetTicks(), next)) {
            publish_frame(w);
            next = SDL_GetTicks() + FRAME_MS;
        }
    }
    SDL_LockMutex(w->lock);
    w->done = true;
    SDL_UnlockMutex(w->lock);
    wake(w);
    return 0;
}

/* ---- input ------------------------------------------------------------------------------------- */

static void send(struct window *w, struct input in)
{
    SDL_LockMutex(w->lock);
    struct input *last = w->queued ? &w->queue[w->queued - 1] : NULL;
    if (in.kind == INPUT_MOUSE && last && last->kind == INPUT_MOUSE && last->code == in.code) {
        last->dx += in.dx;
        last->dy += in.dy;
        last->dz += in.dz;
    } else if (w->queued < QUEUE_LEN) {
        w->queue[w->queued++] = in;
    } else if (in.kind == INPUT_QUIT) {
        w->queue[QUEUE_LEN - 1] = in;
    }
    SDL_UnlockMutex(w->lock);
}

static void send_key(struct window *w, unsigned code, bool down)
{
    if (w->down[code] == down)
        return;
    w->down[code] = down;
    send(w, (struct input){.kind = INPUT_KEY, .code = code, .down = down});
}

/* Keys released while another window has the keyboard are never seen: let go of all. */
static void release_keys(struct window *w)
{
    for (unsigned code = 0; code < sizeof(w->down); code++)
        send_key(w, code, false);
}

static void send_mouse(struct window *w, int dx, int dy, int dz)
{
    send(w, (struct input){.kind = INPUT_MOUSE, .code = w->buttons, .dx = dx, .dy = dy, .dz = dz});
}

static bool note_is_new(const struct window *w)
{
    return w->note[0] && !SDL_TICKS_PASSED(SDL_GetTicks(), w->note_until);
}

static void show_title(struct window *w)
{
    char title[512];
    tnm_stats now;

    SDL_LockMutex(w->lock);
    now = w->stats;
    bool blank = w->blank;
    SDL_UnlockMutex(w->lock);

    double idle, mips = session_speed(&w->session, &w->last_stats, &now, &idle);
    const char *state = idle > 0.9 ? "idle" : "running";
    const char *hint = w->captured ? "Ctrl+Alt+G frees the mouse" : "click to give it the mouse";
    if (note_is_new(w))
        hint = w->note;
    snprintf(title, sizeof(title), "Tinamou - %s%s, %.0f MIPS - %s", state,
             blank ? ", screen off" : "", mips, hint);
    SDL_SetWindowTitle(w->window, title);
    if (SDL_TICKS_PASSED(SDL_GetTicks(), w->last_title + TITLE_MS)) {
        w->last_stats = now;
        w->last_title = SDL_GetTicks();
    }
}

static void present(struct window *w);

static void note(struct window *w, const char *text)
{
    snprintf(w->note, sizeof(w->note), "%s", text);
    w->note_until = SDL_GetTicks() + NOTE_MS;
    show_title(w);
    present(w);
}

static void capture(struct window *w, bool on)
{
    if (w->captured == on)
        return;
    /* Relative motion is what a PS/2 mouse reports; without it the pointer would hit our edges. */
    if (SDL_SetRelativeMouseMode(on) < 0)
        return;
    SDL_SetWindowKeyboardGrab(w->window, on);
    w->captured = on;
    if (!on && w->buttons) {
        w->buttons = 0;
        send_mouse(w, 0, 0, 0);
    }
    show_title(w);
}

static void screenshot(struct window *w)
{
    char name[64], text[128];
    time_t now = time(NULL);
    struct tm tm;

    size_t len = strftime(name, sizeof(name), "tinamou-%Y%m%d-%H%M%S", localtime_r(&now, &tm));
    for (unsigned n = 1;; n++) {
        /* The second picture of a second gets a number; none is written over. */
        snprintf(name + len, sizeof(name) - len, n == 1 ? ".png" : "-%u.png", n);
        if (access(name, F_OK) < 0)
            break;
    }
    SDL_LockMutex(w->lock);
    bool ok = w->width && png_write_file(name, w->pixels, w->width, w->height);
    SDL_UnlockMutex(w->lock);
    if (ok)
        snprintf(text, sizeof(text), "saved %s", name);
    else
        snprintf(text, sizeof(text), "cannot write %s: %s", name, strerror(errno));
    note(w, text);
}

static void toggle_fullscreen(struct window *w)
{
    w->fullscreen = !w->fullscreen;
    SDL_SetWindowFullscreen(w->window, w->fullscreen ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
}

static void toggle_list(struct window *w)
{
    if (w->list) {
        list_close(w->list);
        w->list = NULL;
    } else {
        release_keys(w);
        capture(w, false);
        w->list = list_open(w->session.opt->snapshot_dir);
    }
    present(w);
}

static void fulfil(struct window *w, enum list_wish wish)
{
    switch (wish) {
    case LIST_SAVE:
        send(w, (struct input){.kind = INPUT_SAVE});
        note(w, "saving a snapshot");
        break;
    case LIST_RESTORE:
        SDL_LockMutex(w->lock);
        snprintf(w->restore_path, sizeof(w->restore_path), "%s", list_selected(w->list));
        SDL_UnlockMutex(w->lock);
        send(w, (struct input){.kind = INPUT_RESTORE});
        toggle_list(w);
        return;
    case LIST_CLOSE:
        toggle_list(w);
        return;
    default:
        break;
    }
    present(w);
}

static void quit(struct window *w)
{
    send(w, (struct input){.kind = INPUT_QUIT});
    tnm_stop(w->session.machine);
}

/* Ctrl+Alt and a letter are ours; the right Alt is left to guests' layouts. */
static bool hot_key(struct window *w, const SDL_Keysym *key)
{
    if (!(key->mod & KMOD_CTRL) || !(key->mod & KMOD_LALT))
        return false;
    switch (key->scancode) {
    case SDL_SCANCODE_G:
        capture(w, !w->captured);
        return true;
    case SDL_SCANCODE_F:
        toggle_fullscreen(w);
        return true;
    case SDL_SCANCODE_R:
        send(w, (struct input){.kind = INPUT_RESET});
        note(w, "reset");
        return true;
    case SDL_SCANCODE_P:
        send(w, (struct input){.kind = INPUT_POWER});
        note(w, "power button pressed");
        return true;
    case SDL_SCANCODE_S:
        screenshot(w);
        return true;
    case SDL_SCANCODE_N:
        send(w, (struct input){.kind = INPUT_SAVE});
        note(w, "saving a snapshot");
        return true;
    case SDL_SCANCODE_L:
        toggle_list(w);
        return true;
    case SDL_SCANCODE_Q:
        quit(w);
        return true;
    default:
        return false;
    }
}

static void on_key(struct window *w, const SDL_KeyboardEvent *e)
{
    bool down = e->type == SDL_KEYDOWN;
    unsigned code = keymap_scancode(e->keysym.scancode);

    if (w->list && !(down && !e->repeat && hot_key(w, &e->keysym))) {
        if (down)
            fulfil(w, list_key(w->list, e->keysym.sym));
        return;
    }
    if (w->list)
        return;
    /* The guest's keyboard repeats by itself, in guest time. */
    if (e->repeat || (down && hot_key(w, &e->keysym)) || code == 0)
        return;
    send_key(w, code, down);
}

/* The window's points are not the output's pixels on dense displays. */
static void click_list(struct window *w, const SDL_MouseButtonEvent *e)
{
    int width, height, pixels, lines;

    SDL_GetWindowSize(w->window, &width, &height);
    if (!width || !height || SDL_GetRendererOutputSize(w->renderer, &pixels, &lines) < 0)
        return;
    fulfil(w, list_click(w->list, e->x * pixels / width, e->y * lines / height, e->clicks > 1));
}

static void on_button(struct window *w, const SDL_MouseButtonEvent *e)
{
    unsigned bit = e->button == SDL_BUTTON_LEFT     ? TNM_BUTTON_LEFT
                   : e->button == SDL_BUTTON_RIGHT  ? TNM_BUTTON_RIGHT
                   : e->button == SDL_BUTTON_MIDDLE ? TNM_BUTTON_MIDDLE
                                                    : 0;
    if (w->list) {
        if (e->type == SDL_MOUSEBUTTONDOWN)
            click_list(w, e);
        return;
    }
    if (!w->captured) {
        if (e->type == SDL_MOUSEBUTTONDOWN)
            capture(w, true);
        return;
    }
    if (e->type == SDL_MOUSEBUTTONDOWN)
        w->buttons |= bit;
    else
        w->buttons &= ~bit;
    send_mouse(w, 0, 0, 0);
}

/* ---- picture ----------------------------------------------------------------------------------- */

/* Whole multiples keep pixels sharp; only a picture larger than the window is shrunk. */
static SDL_Rect fit(const struct window *w, int out_width, int out_height)
{
    double fx = (double)out_width / w->texture_width, fy = (double)out_height / w->texture_height;
    double f = fx < fy ? fx : fy;

    if (f >= 1)
        f = (int)f;
    SDL_Rect r = {.w = (int)(w->texture_width * f), .h = (int)(w->texture_height * f)};
    r.x = (out_width - r.w) / 2;
    r.y = (out_height - r.h) / 2;
    return r;
}

/* A line at the bottom: the title has it too, but not every window shows one, and none in full screen. */
static void draw_note(struct window *w)
{
    int width, height;

    w->note_shown = note_is_new(w) && SDL_GetRendererOutputSize(w->renderer, &width, &height) == 0;
    if (!w->note_shown)
        return;
    int scale = width / 640 > 1 ? width / 640 : 1, tall = 24 * scale; /* the foot of the list too */
    SDL_Rect bar = {0, height - tall, width, tall};
    SDL_SetRenderDrawColor(w->renderer, 0x20, 0x4a, 0x87, 255);
    SDL_RenderFillRect(w->renderer, &bar);
    SDL_SetRenderDrawColor(w->renderer, 255, 255, 255, 255);
    font_draw(w->renderer, FONT_HEIGHT * scale, bar.y + 8 * scale, scale, w->note,
              (unsigned)(width / (FONT_ADVANCE * scale)) - 3);
}

static void present(struct window *w)
{
    int width, height;

    SDL_SetRenderDrawColor(w->renderer, 0, 0, 0, 255);
    SDL_RenderClear(w->renderer);
    if (w->texture && SDL_GetRendererOutputSize(w->renderer, &width, &height) == 0) {
        SDL_Rect r = fit(w, width, height);
        SDL_SetTextureScaleMode(w->texture, (unsigned)r.w < w->texture_width ? SDL_ScaleModeLinear
                                                                            : SDL_ScaleModeNearest);
        SDL_RenderCopy(w->renderer, w->texture, NULL, &r);
    }
    if (w->list)
        list_draw(w->list, w->renderer);
    draw_note(w);
    SDL_RenderPresent(w->renderer);
}

/* As large as whole multiples allow within three quarters of the desktop. */
static void resize_window(struct window *w)
{
    SDL_Rect area = {.w = 1024, .h = 768};
    int display = SDL_GetWindowDisplayIndex(w->window);

    if (w->user_sized || w->fullscreen || w->texture_width < 160 || w->texture_height < 100)
        return;
    SDL_GetDisplayUsableBounds(display < 0 ? 0 : display, &area);
    int fx = area.w * 3 / 4 / (int)w->texture_width, fy = area.h * 3 / 4 / (int)w->texture_height;
    int f = fx < fy ? fx : fy;
    if (f < 1)
        f = 1;
    int width = (int)w->texture_width * f, height = (int)w->texture_height * f;
    w->asked_width = width < area.w ? width : area.w;
    w->asked_height = height < area.h ? height : area.h;
    SDL_SetWindowSize(w->window, w->asked_width, w->asked_height);

    /* A picture that has grown must not reach beyond the desktop. */
    int x, y;
    SDL_GetWindowPosition(w->window, &x, &y);
    int max_x = area.x + area.w - w->asked_width, max_y = area.y + area.h - w->asked_height;
    if (x > max_x || y > max_y)
        SDL_SetWindowPosition(w->window, x > max_x ? max_x : x, y > max_y ? max_y : y);
}

/* Takes the new picture; true if there is something to present. */
static bool take_frame(struct window *w)
{
    bool resized = false, fresh;

    SDL_LockMutex(w->lock);
    fresh = w->fresh;
    w->fresh = false;
    if (fresh && (w->width != w->texture_width || w->height != w->texture_height || !w->texture)) {
        if (w->texture)
            SDL_DestroyTexture(w->texture);
        w->texture = SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_RGB888,
                                       SDL_TEXTUREACCESS_STREAMING, (int)w->width, (int)w->height);
        w->texture_width = w->width;
        w->texture_height = w->height;
        resized = w->texture != NULL;
    }
    if (fresh && w->texture)
        SDL_UpdateTexture(w->texture, NULL, w->pixels, (int)(w->width * sizeof(*w->pixels)));
    SDL_UnlockMutex(w->lock);
    if (resized)
        resize_window(w);
    return fresh;
}

/* libX11 calls exit when its server goes away. Nobody may then wait for, or tear down, what the
 * machine's thread still uses; exit handlers have no argument, hence the global. */
static volatile bool thread_running;

static void leave_at_once(void)
{
    if (thread_running) {
        terminal_restore();
        _exit(STATUS_FAILED);
    }
}

/* ---- the main thread --------------------------------------------------------------------------- */

static void on_window_event(struct window *w, const SDL_WindowEvent *e)
{
    switch (e->event) {
    case SDL_WINDOWEVENT_RESIZED:
        if (!w->fullscreen && (e->data1 != w->asked_width || e->data2 != w->asked_height))
            w->user_sized = true;
        present(w);
        break;
    case SDL_WINDOWEVENT_EXPOSED:
        present(w);
        break;
    case SDL_WINDOWEVENT_FOCUS_LOST:
        release_keys(w);
        capture(w, false);
        break;
    default:
        break;
    }
}

static void on_event(struct window *w, const SDL_Event *e)
{
    switch (e->type) {
    case SDL_QUIT:
        quit(w);
        break;
    case SDL_KEYDOWN:
    case SDL_KEYUP:
        on_key(w, &e->key);
        break;
    case SDL_TEXTINPUT:
        if (w->list) {
            list_text(w->list, e->text.text);
            present(w);
        }
        break;
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP:
        on_button(w, &e->button);
        break;
    case SDL_MOUSEMOTION:
        if (w->captured)
            send_mouse(w, e->motion.xrel, e->motion.yrel, 0);
        break;
    case SDL_MOUSEWHEEL:
        /* A PS/2 wheel counts towards the user. */
        if (w->captured)
            send_mouse(w, 0, 0, -e->wheel.y);
        break;
    case SDL_WINDOWEVENT:
        on_window_event(w, &e->window);
        break;
    case SDL_RENDER_TARGETS_RESET:
    case SDL_RENDER_DEVICE_RESET:
        if (w->texture) /* its contents are lost */
            SDL_DestroyTexture(w->texture);
        w->texture = NULL;
        if (w->list)
            list_refresh(w->list);
        SDL_LockMutex(w->lock);
        w->fresh = w->width != 0;
        SDL_UnlockMutex(w->lock);
        break;
    default:
        break;
    }
}

/* Shows what the machine's thread reported; the list may have changed with it. */
static void take_message(struct window *w)
{
    char text[sizeof(w->message)];

    SDL_LockMutex(w->lock);
    memcpy(text, w->message, sizeof(text));
    w->message[0] = '\0';
    SDL_UnlockMutex(w->lock);
    if (!text[0])
        return;
    note(w, text);
    if (w->list) {
        list_refresh(w->list);
        present(w);
    }
}

static void event_loop(struct window *w)
{
    bool done = false;
    SDL_Event e;

    while (!done) {
        if (SDL_WaitEventTimeout(&e, TITLE_MS / 2)) {
            do
                on_event(w, &e);
            while (SDL_PollEvent(&e));
        }
        if (take_frame(w))
            present(w);
        take_message(w);
        if (w->note_shown && !note_is_new(w))
            present(w); /* without it */
        if (SDL_TICKS_PASSED(SDL_GetTicks(), w->last_title + TITLE_MS))
            show_title(w);
        SDL_LockMutex(w->lock);
        done = w->done;
        SDL_UnlockMutex(w->lock);
    }
}

static bool open_window(struct window *w)
{
    w->lock = SDL_CreateMutex();
    w->wake_event = SDL_RegisterEvents(1);
    w->asked_width = DEFAULT_WIDTH;
    w->asked_height = DEFAULT_HEIGHT;
    w->window = SDL_CreateWindow("Tinamou", SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED,
                                 DEFAULT_WIDTH, DEFAULT_HEIGHT,
                                 SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI);
    if (!w->lock || !w->window)
        return false;
    w->renderer = SDL_CreateRenderer(w->window, -1, 0);
    if (!w->renderer)
        w->renderer = SDL_CreateRenderer(w->window, -1, SDL_RENDERER_SOFTWARE);
    return w->renderer != NULL;
}

static void close_window(struct window *w)
{
    if (w->list)
        list_close(w->list);
    if (w->texture)
        SDL_DestroyTexture(w->texture);
    if (w->renderer)
        SDL_DestroyRenderer(w->renderer);
    if (w->window)
        SDL_DestroyWindow(w->window);
    if (w->lock)
        SDL_DestroyMutex(w->lock);
    free(w->pixels);
}

static int sdl_failed(void)
{
    fprintf(stderr, "tinamou: cannot open a window: %s: check DISPLAY, or use --headless\n",
            SDL_GetError());
    return STATUS_FAILED;
}

static int run_in_window(struct window *w)
{
    if (!open_window(w))
        return sdl_failed();
    SDL_StopTextInput(); /* letters are keys until a name is edited */
    w->session.saver.report = report;
    w->session.saver.opaque = w;
    SDL_Thread *thread = SDL_CreateThread(machine_thread, "machine", w);
    if (!thread)
        return sdl_failed();
    atexit(leave_at_once);
    thread_running = true;
    event_loop(w);
    SDL_WaitThread(thread, NULL);
    thread_running = false;
    return w->session.status;
}

/* Where there is no display SDL may fall back on a driver that shows nothing, which helps only
 * those who asked for it. */
static bool init_video(void)
{
    if (SDL_Init(SDL_INIT_VIDEO) < 0)
        return false;
    const char *driver = SDL_GetCurrentVideoDriver();
    if (getenv("SDL_VIDEODRIVER") || !driver ||
        (strcmp(driver, "offscreen") != 0 && strcmp(driver, "dummy") != 0))
        return true;
    SDL_Quit();
    SDL_SetError("there is no display");
    return false;
}

int run_window(const struct options *opt)
{
    int status = STATUS_FAILED;

    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    if (!init_video())
        return sdl_failed();
    struct window *w = calloc(1, sizeof(*w));
    if (!w) {
        fputs("tinamou: out of memory: free some\n", stderr);
    } else if (session_open(&w->session, opt)) {
        console_attach(&w->session);
        w->session.status = run_in_window(w);
        status = session_close(&w->session);
        close_window(w);
    }
    free(w);
    SDL_Quit();
    return status;
}
