/* `tinamou snapshot ...`: looking at, checking, comparing and merging snapshot files. */
#ifndef FRONTEND_SNAPSHOT_COMMAND_H
#define FRONTEND_SNAPSHOT_COMMAND_H

/* The arguments after `tinamou snapshot`. Returns the exit status. */
int command_snapshot(int argc, char **argv);

#endif
