/* The list of snapshots: see overlay_list.h.
 *
 * A snapshot that others are deltas on is neither renamed nor deleted: they name it by its path. A
 * file that is no snapshot, or a damaged one, is shown as such and can be deleted.
 */
#include "frontend/overlay_list.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "frontend/overlay_font.h"
#include "include/tinamou.h"

#define SUFFIX      ".snap"
#define MAX_ENTRIES 200
#define PATH_LEN    4096
#define NAME_LEN    200
#define ROW         72 /* of an entry, at scale 1 */
#define MARGIN      12
#define THUMB_W     96
#define THUMB_H     64

struct entry {
    char file[NAME_LEN + sizeof(SUFFIX)]; /* in the folder */
    char about[96];
    time_t when;
    uint64_t id, parent_id;
    bool damaged;
    uint32_t *pixels; /* of the thumbnail */
    int width, height;
    SDL_Texture *texture; /* made when it is drawn */
};

struct overlay_list {
    char dir[PATH_LEN - NAME_LEN - 16];
    char path[PATH_LEN]; /* of the selected one */
    struct entry *entries;
    unsigned count, selected, top; /* top: the first one shown */
    bool renaming, deleting;
    char edit[NAME_LEN];
    char note[160]; /* about the last deed */
    int scale, rows;
};

/* ---- the folder -------------------------------------------------------------------------------- */

static void forget(struct overlay_list *l)
{
    for (unsigned i = 0; i < l->count; i++) {
        if (l->entries[i].texture)
            SDL_DestroyTexture(l->entries[i].texture);
        free(l->entries[i].pixels);
    }
    free(l->entries);
    l->entries = NULL;
    l->count = 0;
}

static void make_path(const struct overlay_list *l, const char *file, char *out)
{
    snprintf(out, PATH_LEN, "%s/%s", l->dir, file);
}

static void copy_thumbnail(struct entry *e, const tnm_snapshot_info *info)
{
    size_t size = (size_t)info->thumb_width * info->thumb_height * sizeof(uint32_t);

    e->pixels = size ? malloc(size) : NULL;
    if (!e->pixels)
        return;
    memcpy(e->pixels, info->thumb, size);
    e->width = (int)info->thumb_width;
    e->height = (int)info->thumb_height;
}

static void read_entry(struct overlay_list *l, struct entry *e, const char *file)
{
    char path[PATH_LEN], date[32] = "";
    struct stat st = {0};
    struct tm tm;
    tnm_error err = {0};
    tnm_snapshot_info info;

    snprintf(e->file, sizeof(e->file), "%s", file);
    make_path(l, file, path);
    stat(path, &st);
    e->when = st.st_mtime;
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", localtime_r(&e->when, &tm));
    tnm_snapshot *s = tnm_snapshot_open(path, &err);
    if (!s) {
        e->damaged = true;
        snprintf(e->about, sizeof(e->about), "%s  cannot be read", date);
        return;
    }
    tnm_snapshot_get_info(s, &info);
    e->id = info.id;
    e->parent_id = info.parent ? info.parent_id : 0;
    snprintf(e->about, sizeof(e->about), "%s  %.1f MiB%s  %u MiB of RAM, after %.1f s", date,
             (double)st.st_size / (1 << 20), info.parent ? ", a delta" : "",
             (unsigned)(info.memory >> 20), (double)info.time_ns / 1e9);
    copy_thumbnail(e, &info);
    tnm_snapshot_close(s);
}

static bool is_snapshot(const char *file)
{
    size_t len = strlen(file), suffix = strlen(SUFFIX);
    return len > suffix && len <= NAME_LEN && strcmp(file + len - suffix, SUFFIX) == 0;
}

static int newest_first(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    if (x->when != y->when)
        return x->when < y->when ? 1 : -1;
    return strcmp(y->file, x->file);
}

static void select_entry(struct overlay_list *l, unsigned n)
{
    l->selected = n;
    l->deleting = l->renaming = false;
    if (n < l->top)
        l->top = n;
    if (l->rows && n >= l->top + (unsigned)l->rows)
        l->top = n - (unsigned)l->rows + 1;
}

void list_refresh(struct overlay_list *l)
{
    DIR *d = opendir(l->dir);
    struct dirent *file;

    forget(l);
    l->entries = calloc(MAX_ENTRIES, sizeof(*l->entries));
    while (d && l->entries && l->count < MAX_ENTRIES && (file = readdir(d)))
        if (is_snapshot(file->d_name))
            read_entry(l, &l->entries[l->count++], file->d_name);
    if (d)
        closedir(d);
    if (l->count)
        qsort(l->entries, l->count, sizeof(*l->entries), newest_first);
    select_entry(l, l->selected < l->count ? l->selected : 0);
}

struct overlay_list *list_open(const char *dir)
{
    struct overlay_list *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    snprintf(l->dir, sizeof(l->dir), "%s", dir ? dir : ".");
    l->scale = 1;
    list_refresh(l);
    return l;
}

void list_close(struct overlay_list *l)
{
    forget(l);
    free(l);
}

const char *list_selected(const struct overlay_list *l)
{
    if (l->selected >= l->count)
        return NULL;
    make_path(l, l->entries[l->selected].file, (char *)l->path);
    return l->path;
}

/* ---- renaming and deleting --------------------------------------------------------------------- */

static bool has_deltas(struct overlay_list *l, const struct entry *e)
{
    for (unsigned i = 0; i < l->count; i++) {
        const struct entry *d = &l->entries[i];
        if (!e->damaged && d != e && d->parent_id && d->parent_id == e->id) {
            snprintf(l->note, sizeof(l->note), "%.60s is a delta on it: flatten that one first",
                     d->file);
            return true;
        }
    }
    return false;
}

static void begin_rename(struct overlay_list *l)
{
    struct entry *e = &l->entries[l->selected];

    if (has_deltas(l, e))
        return;
    snprintf(l->edit, sizeof(l->edit), "%.*s", (int)(strlen(e->file) - strlen(SUFFIX)), e->file);
    l->renaming = true;
    SDL_StartTextInput();
}

static void end_rename(struct overlay_list *l, bool keep)
{
    char from[PATH_LEN], to[PATH_LEN], file[NAME_LEN + sizeof(SUFFIX)];

    SDL_StopTextInput();
    l->renaming = false;
    if (!keep || !l->edit[0])
        return;
    snprintf(file, sizeof(file), "%.*s%s", (int)(NAME_LEN - sizeof(SUFFIX)), l->edit, SUFFIX);
    make_path(l, l->entries[l->selected].file, from);
    make_path(l, file, to);
    if (strcmp(from, to) == 0)
        return;
    /* A link fails where the name is taken, which a rename would not. */
    if (link(from, to) < 0 || unlink(from) < 0)
        snprintf(l->note, sizeof(l->note), "not renamed: %s", strerror(errno));
    list_refresh(l);
    for (unsigned i = 0; i < l->count; i++)
        if (strcmp(l->entries[i].file, file) == 0)
            select_entry(l, i);
}

static void delete_selected(struct overlay_list *l)
{
    struct entry *e = &l->entries[l->selected];
    char path[PATH_LEN];

    if (!l->deleting) {
        l->deleting = !has_deltas(l, e);
        return;
    }
    make_path(l, e->file, path);
    if (unlink(path) < 0)
        snprintf(l->note, sizeof(l->note), "not deleted: %s", strerror(errno));
    list_refresh(l);
}

/* ---- input ------------------------------------------------------------------------------------- */

void list_text(struct overlay_list *l, const char *utf8)
{
    size_t len = strlen(l->edit);

    for (const char *p = utf8; l->renaming && *p; p++)
        if (*p >= ' ' && *p <= '~' && *p != '/' && !(len == 0 && *p == '.') && len < 60)
            l->edit[len++] = *p;
    l->edit[len] = '\0';
}

static enum list_wish key_in_name(struct overlay_list *l, SDL_Keycode key)
{
    size_t len = strlen(l->edit);

    if (key == SDLK_BACKSPACE && len)
        l->edit[len - 1] = '\0';
    else if (key == SDLK_RETURN || key == SDLK_KP_ENTER)
        end_rename(l, true);
    else if (key == SDLK_ESCAPE)
        end_rename(l, false);
    return LIST_NOTHING;
}

static void move(struct overlay_list *l, int by)
{
    int n = (int)l->selected + by;

    if (n >= (int)l->count)
        n = (int)l->count - 1;
    if (l->count)
        select_entry(l, n < 0 ? 0 : (unsigned)n);
}

enum list_wish list_key(struct overlay_list *l, SDL_Keycode key)
{
    if (l->renaming)
        return key_in_name(l, key);
    l->note[0] = '\0';
    if (key != SDLK_DELETE)
        l->deleting = false;
    switch (key) {
    case SDLK_UP:
        move(l, -1);
        break;
    case SDLK_DOWN:
        move(l, 1);
        break;
    case SDLK_PAGEUP:
        move(l, -l->rows);
        break;
    case SDLK_PAGEDOWN:
        move(l, l->rows);
        break;
    case SDLK_ESCAPE:
        return LIST_CLOSE;
    case SDLK_n:
        return LIST_SAVE;
    case SDLK_RETURN:
    case SDLK_KP_ENTER:
        return l->count ? LIST_RESTORE : LIST_NOTHING;
    case SDLK_r:
    case SDLK_F2:
        if (l->count)
            begin_rename(l);
        break;
    case SDLK_DELETE:
        if (l->count)
            delete_selected(l);
        break;
    default:
        break;
    }
    return LIST_NOTHING;
}

/* The first entry's top, in output pixels: the title stands above. */
static int first_row(const struct overlay_list *l)
{
    return (MARGIN * 2 + 2 * FONT_HEIGHT) * l->scale;
}

enum list_wish list_click(struct overlay_list *l, int x, int y, bool twice)
{
    int row = y < first_row(l) ? -1 : (y - first_row(l)) / (ROW * l->scale);

    if (l->renaming || row < 0 || row >= l->rows || l->top + (unsigned)row >= l->count)
        return LIST_NOTHING;
    select_entry(l, l->top + (unsigned)row);
    return twice ? LIST_RESTORE : LIST_NOTHING;
}

/* ---- picture ----------------------------------------------------------------------------------- */

static void color(SDL_Renderer *r, uint32_t rgb)
{
    SDL_SetRenderDrawColor(r, rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255, 255);
}

static void draw_thumbnail(SDL_Renderer *r, struct entry *e, SDL_Rect box)
{
    color(r, 0x303030);
    SDL_RenderFillRect(r, &box);
    if (!e->pixels)
        return;
    if (!e->texture) {
        e->texture = SDL_CreateTexture(r, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STATIC,
                                       e->width, e->height);
        if (!e->texture)
            return;
        SDL_UpdateTexture(e->texture, NULL, e->pixels, e->width * (int)sizeof(uint32_t));
        SDL_SetTextureScaleMode(e->texture, SDL_ScaleModeLinear);
    }
    double fx = (double)box.w / e->width, fy = (double)box.h / e->height, f = fx < fy ? fx : fy;
    SDL_Rect to = {.w = (int)(e->width * f), .h = (int)(e->height * f)};
    to.x = box.x + (box.w - to.w) / 2;
    to.y = box.y + (box.h - to.h) / 2;
    SDL_RenderCopy(r, e->texture, NULL, &to);
}

static void draw_entry(struct overlay_list *l, SDL_Renderer *r, unsigned n, int y, int width)
{
    struct entry *e = &l->entries[n];
    int s = l->scale, x = MARGIN * s, text_x = x + (THUMB_W + MARGIN) * s;
    unsigned letters = (unsigned)((width - text_x - MARGIN * s) / (FONT_ADVANCE * s));
    char line[NAME_LEN + 32];
    bool chosen = n == l->selected;

    if (chosen) {
        SDL_Rect bar = {x / 2, y, width - x, ROW * s};
        color(r, 0x204a87);
        SDL_RenderFillRect(r, &bar);
    }
    draw_thumbnail(r, e, (SDL_Rect){x, y + (ROW - THUMB_H) / 2 * s, THUMB_W * s, THUMB_H * s});
    if (chosen && l->renaming)
        snprintf(line, sizeof(line), "%s_", l->edit);
    else
        snprintf(line, sizeof(line), "%.*s", (int)(strlen(e->file) - strlen(SUFFIX)), e->file);
    color(r, e->damaged ? 0xff6060 : 0xffffff);
    font_draw(r, text_x, y + 14 * s, s * 2, line, letters / 2);
    color(r, 0xc0c0c0);
    font_draw(r, text_x, y + 42 * s, s, e->about, letters);
    if (chosen && l->deleting) {
        color(r, 0xffd040);
        font_draw(r, text_x, y + 56 * s, s, "Del again deletes it for good", letters);
    }
}

void list_draw(struct overlay_list *l, SDL_Renderer *r)
{
    int width, height;

    if (SDL_GetRendererOutputSize(r, &width, &height) < 0)
        return;
    l->scale = width / 640 > 1 ? width / 640 : 1;
    int s = l->scale, y = first_row(l), foot = height - (MARGIN + FONT_HEIGHT) * s;
    unsigned letters = (unsigned)((width - 2 * MARGIN * s) / (FONT_ADVANCE * s));
    l->rows = (foot - y) / (ROW * s) > 1 ? (foot - y) / (ROW * s) : 1;

    SDL_SetRenderDrawBlendMode(r, SDL_BLENDMODE_BLEND);
    SDL_SetRenderDrawColor(r, 0, 0, 0, 216);
    SDL_RenderFillRect(r, NULL);
    SDL_SetRenderDrawBlendMode(r, SDL_BLENDMODE_NONE);
    color(r, 0xffffff);
    font_draw(r, MARGIN * s, MARGIN * s, s * 2, "Snapshots", letters / 2);
    for (unsigned i = 0; i < (unsigned)l->rows && l->top + i < l->count; i++)
        draw_entry(l, r, l->top + i, y + (int)i * ROW * s, width);
    color(r, 0xc0c0c0);
    if (!l->count)
        font_draw(r, MARGIN * s, y, s, "There are none in this folder yet.", letters);
    font_draw(r, MARGIN * s, foot, s,
              l->note[0]    ? l->note
              : l->renaming ? "Enter keeps the name, Esc the old one"
                            : "Enter restore   N save   R rename   Del delete   Esc close",
              letters);
}
