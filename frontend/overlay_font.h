/* Letters for what the window draws over the guest's picture: ASCII, five by eight dots. */
#ifndef FRONTEND_OVERLAY_FONT_H
#define FRONTEND_OVERLAY_FONT_H

#include <SDL.h>

#define FONT_ADVANCE 6 /* dots from letter to letter */
#define FONT_HEIGHT  9 /* with the room below */

/* One line of text in the renderer's colour, dots of scale pixels; at most max letters, the last of
 * which are dots if there are more. Returns its width in pixels. */
int font_draw(SDL_Renderer *r, int x, int y, int scale, const char *text, unsigned max);

#endif
