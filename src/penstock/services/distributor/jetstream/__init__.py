"""The spool on NATS JetStream: any number of distributors share it, and any of them may be killed.

    PREFIX_packets    stream, a message a packet, by group and analyzer; acknowledged, it goes
    PREFIX_retries    the same, of packets that failed and are to be tried again
    PREFIX_dead       stream of dead letters, which every node follows
    PREFIX_nodes      key-value bucket: what each node has counted, and remembers
    PREFIX_commands   key-value bucket: what operators said of each analyzer, at any node

The node that accepts a packet assigns it, publishes it and answers when the server has it. Each analyzer of
a group has one durable consumer, from which all nodes pull what they have room for: so a packet is delivered
by any of them. What a node that was killed had pulled comes to another one after `spool_hold` seconds.
"""
