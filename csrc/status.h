/* status -- how a kernel says what happened. Results come through the last pointers. */
#ifndef PS_STATUS_H
#define PS_STATUS_H

typedef enum {
    PS_OK = 0,
    PS_REFUSED,   /* a rule said no; nothing changed */
    PS_EMPTY,     /* there is nothing to choose from; nothing changed */
    PS_NO_MEMORY, /* an allocation failed; nothing changed */
} ps_status;

#endif
