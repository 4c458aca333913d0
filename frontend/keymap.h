/* Host keys, by position, to the PC's. */
#ifndef FRONTEND_KEYMAP_H
#define FRONTEND_KEYMAP_H

#include <SDL.h>

/* For tnm_key: scan code set 1, E0 as bit 8; 0 for a key that a PC keyboard lacks. */
unsigned keymap_scancode(SDL_Scancode key);

#endif
