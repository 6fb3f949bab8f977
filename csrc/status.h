/* status -- how a kernel says what happened. Results come through the last pointers. */
#ifndef PS_STATUS_H
#define PS_STATUS_H

typedef enum {
    PS_OK = 0,
    PS_REFUSED,   /* a rule said no; nothing changed */
    PS_EMPTY,     /* there is nothing to choose from; nothing changed */
    PS_NO_MEMORY, /* an allocation failed; nothing changed */
    PS_CHANGED,   /* while the caller's own code ran, the structure was changed by another; nothing was done */
    PS_STOPPED,   /* the caller's own code said stop; nothing changed */
    PS_BROKEN,    /* bytes from outside break the rules of their format */
} ps_status;

#endif
