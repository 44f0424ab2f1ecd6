"""Lists dead letters, feeds them back, or drops them. Run by deploy/dead_letters.sh."""

import argparse
import json
import os
import sys

import pika
import pika.exceptions
from publish import connect

QUEUE = "position-manager.dead_letter"
LINE_LEN_MAX = 200


def letters(channel):
    """Every letter that is there now, once each: what is not taken out goes back when the channel closes."""
    count = channel.queue_declare(QUEUE, passive=True).method.message_count
    for _ in range(count):
        method, properties, body = channel.basic_get(QUEUE)
        if method is None:
            return
        yield method.delivery_tag, properties, body


def header(properties, name):
    return (properties.headers or {}).get(name, "")


def is_wanted(arguments, properties, body):
    if arguments.reason and header(properties, "x-reason") != arguments.reason:
        return False
    return not arguments.contains or arguments.contains.encode() in body


def list_them(channel):
    for _, properties, body in letters(channel):
        text = body.decode(errors="replace")
        print(header(properties, "x-failed-at"), header(properties, "x-reason"), header(properties, "x-field") or "-",
              header(properties, "x-source-queue"), text if len(text) <= LINE_LEN_MAX else text[:LINE_LEN_MAX] + "…")


def refeed(channel, arguments):
    """The letter's own message_id stands in for an identity that the event itself may lack: fed twice, it counts once."""
    done = 0
    for tag, properties, body in letters(channel):
        if not is_wanted(arguments, properties, body):
            continue
        channel.basic_publish("", arguments.to or header(properties, "x-source-queue"), body, mandatory=True, properties=pika.BasicProperties(
            delivery_mode=2, content_type=properties.content_type, message_id=properties.message_id,
            headers={"trace_id": header(properties, "x-trace-id")}))
        channel.basic_ack(tag)
        done += 1
    print(f"{done} fed back")


def drop(channel, arguments):
    done = 0
    saved = open(arguments.save, "a", encoding="utf-8") if arguments.save else None
    for tag, properties, body in letters(channel):
        if not is_wanted(arguments, properties, body):
            continue
        if saved is not None:
            saved.write(json.dumps({"headers": properties.headers, "body": body.decode(errors="replace")}) + "\n")
            saved.flush()
            os.fsync(saved.fileno())
        channel.basic_ack(tag)
        done += 1
    print(f"{done} dropped")


def parse():
    parser = argparse.ArgumentParser(prog="deploy/dead_letters.sh")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    for name in ("refeed", "drop"):
        command = commands.add_parser(name)
        command.add_argument("--reason", required=name == "drop")
        command.add_argument("--contains")
        command.add_argument("--to" if name == "refeed" else "--save")
    return parser.parse_args()


def main():
    arguments = parse()
    connection, channel = connect()
    try:
        if arguments.command == "list":
            list_them(channel)
        elif arguments.command == "refeed":
            refeed(channel, arguments)
        else:
            drop(channel, arguments)
    except pika.exceptions.UnroutableError:
        sys.exit("the queue to feed to does not exist; nothing more was fed back")
    finally:
        connection.close()


if __name__ == "__main__":
    main()
