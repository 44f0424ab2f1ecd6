/* Planted: a sender that still writes to a message it has given away. The suppressions for ck must not hide it. */
#include <pthread.h>

#include "mailbox.h"

enum { MESSAGES = 100 };

static struct mailbox *mailbox;
static struct message messages[MESSAGES];

static void *send_and_write(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < MESSAGES; i++) {
        struct message *message = &messages[i];
        mailbox_send_reserved(mailbox, 0, &message);
        *(volatile uint32_t *)&messages[i].type = 2;
    }
    return NULL;
}

int main(void)
{
    uint32_t capacity = MESSAGES;
    mailbox = mailbox_create("alarm", &capacity, 1);
    pthread_t thread;
    if (pthread_create(&thread, NULL, send_and_write, NULL) != 0)
        return 0;
    for (size_t received = 0; received < MESSAGES;) {
        struct message *message;
        if (mailbox_receive(mailbox, &message, 1) == 0)
            continue;
        *(volatile uint32_t *)&message->type = 3;
        received++;
    }
    (void)pthread_join(thread, NULL);
    mailbox_destroy(mailbox);
    return 0;
}
