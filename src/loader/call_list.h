/* loader/call_list: calls in order, linked by call->next; owns none of them.  Part of loader/internal. */
#ifndef LOADER_CALL_LIST_H
#define LOADER_CALL_LIST_H

struct call;

struct call_list {
    struct call *first, **end;
};
void call_list_init(struct call_list *list);
void call_list_add(struct call_list *list, struct call *c);
/* Runs what call_finish put into the list, done for each; it is empty then. */
void call_list_run(struct call_list *list);

#endif
