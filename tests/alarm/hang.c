/* Planted: a receiver that waits for a message nobody sends. */
#include "mailbox.h"

int main(void)
{
    uint32_t capacity = 1;
    struct mailbox *mailbox = mailbox_create("alarm", &capacity, 1);
    struct message *message;
    while (mailbox_receive(mailbox, &message, 1) == 0)
        mailbox_wait(mailbox, -1);
    mailbox_destroy(mailbox);
    return 0;
}
