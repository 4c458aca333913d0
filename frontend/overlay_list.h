/* The list of snapshots that the window draws over the guest's picture: a folder's files, newest
 * first, with their thumbnails. It reads, renames and deletes files itself; saving and restoring is
 * its caller's. All calls come from the thread that has the renderer.
 */
#ifndef FRONTEND_OVERLAY_LIST_H
#define FRONTEND_OVERLAY_LIST_H

#include <SDL.h>
#include <stdbool.h>

/* What the user wants of the caller. */
enum list_wish { LIST_NOTHING, LIST_CLOSE, LIST_SAVE, LIST_RESTORE };

struct overlay_list;
struct overlay_list *list_open(const char *dir); /* NULL dir: the current folder; NULL: no memory */
void list_close(struct overlay_list *l);
/* Looks at the folder again: after a save, and when the renderer has lost its textures. */
void list_refresh(struct overlay_list *l);

enum list_wish list_key(struct overlay_list *l, SDL_Keycode key);
enum list_wish list_click(struct overlay_list *l, int x, int y, bool twice); /* output pixels */
void list_text(struct overlay_list *l, const char *utf8); /* typed, while a name is edited */
const char *list_selected(const struct overlay_list *l);  /* path; NULL: none */
void list_draw(struct overlay_list *l, SDL_Renderer *r);

#endif
