#include "message_chain.h"

void message_chain_append(struct message_chain *chain, struct message *message)
{
    message->next = NULL;
    if (chain->last != NULL)
        chain->last->next = message;
    else
        chain->first = message;
    chain->last = message;
    chain->count++;
}

struct message *message_chain_take_first(struct message_chain *chain)
{
    struct message *message = chain->first;
    if (message == NULL)
        return NULL;
    chain->first = message->next;
    if (chain->first == NULL)
        chain->last = NULL;
    chain->count--;
    message->next = NULL;
    return message;
}
