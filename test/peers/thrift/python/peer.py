"""A Thrift peer in Python.

    peer.py serve TRANSPORT PROTOCOL VERSION    prints `READY port` and serves until it is killed
    peer.py call TRANSPORT PROTOCOL PORT        prints what it called and got as one JSON object
    peer.py talk multiplexed PROTOCOL PORT      calls services as lines of its input say, `ID SERVICE TEXT` for each call,
                                                and prints `ID ok REPLY` or `ID failed TYPE MESSAGE` for each

TRANSPORT is framed, unframed, multiplexed (framed, as the service Greeter), header or zlib (a transform of header); a
multiplexed server has the services -10 to 14 as well, of which talk calls fail() where the number is negative;
PROTOCOL is binary, compact or old (without a version). Those with headers speak by Apache's library, which needs
generated code, so that they only know hello() and note(); the others by thriftpy2.
"""

import json
import pathlib
import queue
import socket
import sys
import threading

import thriftpy2
from thriftpy2.protocol import TBinaryProtocolFactory, TCompactProtocolFactory, TMultiplexedProtocolFactory
from thriftpy2.rpc import make_client
from thriftpy2.server import TThreadedServer
from thriftpy2.thrift import TApplicationException, TMultiplexedProcessor, TProcessor
from thriftpy2.transport import TBufferedTransportFactory, TFramedTransportFactory, TServerSocket

from thrift.protocol.THeaderProtocol import THeaderProtocol
from thrift.Thrift import TMessageType, TType
from thrift.transport.THeaderTransport import THeaderClientType, THeaderSubprotocolID, THeaderTransformID
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TTransportException

idl = thriftpy2.load(str(pathlib.Path(__file__).with_name("greeter.thrift")), module_name="greeter_thrift")

PROTOCOLS = {
    "binary": TBinaryProtocolFactory(),
    "old": TBinaryProtocolFactory(strict_read=False, strict_write=False),
    "compact": TCompactProtocolFactory(),
}


def transport_of(name):
    return TBufferedTransportFactory() if name == "unframed" else TFramedTransportFactory()


class Greeter:
    def __init__(self, version):
        self.version = version

    def hello(self, name):
        if name == "nobody":
            raise idl.Refused(why="not " + name)
        return f"hello {name} from {self.version}"

    def add(self, a, b):
        return a + b

    def ping(self):
        pass

    def note(self, what):
        pass

    def fail(self):
        raise TApplicationException(TApplicationException.INTERNAL_ERROR, "it failed")

    def order(self, order):
        return order


def serve(transport, protocol, version):
    listening = TServerSocket(host="127.0.0.1", port=0)
    listening.listen()
    port = listening.sock.getsockname()[1]
    # serve() would listen once more.
    listening.listen = lambda: None
    processor = TProcessor(idl.Greeter, Greeter(version))
    if transport == "multiplexed":
        several = TMultiplexedProcessor()
        for name in ["Greeter", *map(str, range(-10, 15))]:
            several.register_processor(name, processor)
        processor = several
    print(f"READY {port}", flush=True)
    TThreadedServer(
        processor, listening, iprot_factory=PROTOCOLS[protocol], itrans_factory=transport_of(transport), daemon=True
    ).serve()


def an_order():
    items = [idl.Item(name="fig", price=1.5, colour=idl.Colour.GREEN), idl.Item(name="σύκο", price=-0.0)]
    first = idl.Order(paid=False, count=-1, items=[], stock={}, flags=[])
    return idl.Order(
        paid=True, kind=-3, shop=-300, count=2**31 - 1, number=-(2**63), total=0.1, note="🍵", picture=bytes(range(256)),
        items=items, tags=[1], stock={"fig": 2**40, "": -1}, shelves={7: items, -1: []},
        flags=[True, False] * 20, table=[[1, -1], [], [2**62]], previous=first, last="end",
    )


def call(transport, protocol, port):
    factory = PROTOCOLS[protocol]
    if transport == "multiplexed":
        factory = TMultiplexedProtocolFactory(factory, "Greeter")
    client = make_client(
        idl.Wider, "127.0.0.1", port, proto_factory=factory, trans_factory=transport_of(transport), timeout=10000
    )
    got = {}

    def attempt(name, run):
        try:
            got[name] = run()
        except idl.Refused as refused:
            got[name] = "Refused: " + refused.why
        except TApplicationException as error:
            got[name] = f"TApplicationException {error.type}"

    order = an_order()
    attempt("hello", lambda: client.hello("fig"))
    attempt("refused", lambda: client.hello("nobody"))
    attempt("add", lambda: client.add(2, -5))
    attempt("ping", lambda: client.ping())
    attempt("note", lambda: client.note("fig"))
    attempt("fail", lambda: client.fail())
    # A service among others that does not have the method ends the connection here, and says nothing.
    if transport != "multiplexed":
        attempt("missing", lambda: client.missing())
    attempt("order", lambda: client.order(order) == order)
    client.close()
    return got


def talk(protocol, port):
    calls_of = {}

    def run(service, calls):
        factory = TMultiplexedProtocolFactory(PROTOCOLS[protocol], service)
        client = make_client(
            idl.Wider, "127.0.0.1", port, proto_factory=factory, trans_factory=transport_of("multiplexed"), timeout=10000
        )
        while True:
            call, text = calls.get()
            try:
                outcome = f"ok {client.fail() if service.startswith('-') else client.hello(text)}"
            except TApplicationException as error:
                outcome = f"failed {error.type} {error.message}"
            print(f"{call} {outcome}\n", end="", flush=True)

    for line in sys.stdin:
        call, service, text = line.rstrip("\n").split(" ", 2)
        if service not in calls_of:
            calls_of[service] = queue.Queue()
            threading.Thread(target=run, args=(service, calls_of[service]), daemon=True).start()
        calls_of[service].put((call, text))


def header_protocol(sock, transport, protocol):
    trans = TSocket()
    trans.setHandle(sock)
    sub = THeaderSubprotocolID.COMPACT if protocol == "compact" else THeaderSubprotocolID.BINARY
    made = THeaderProtocol(trans, (THeaderClientType.HEADERS,), sub)
    if transport == "zlib":
        made.add_transform(THeaderTransformID.ZLIB)
    return made


def write_message(protocol, name, kind, seqid, field, text):
    protocol.writeMessageBegin(name, kind, seqid)
    protocol.writeStructBegin("")
    protocol.writeFieldBegin("", TType.STRING, field)
    protocol.writeString(text)
    protocol.writeFieldEnd()
    protocol.writeFieldStop()
    protocol.writeStructEnd()
    protocol.writeMessageEnd()
    protocol.trans.flush()


def read_message(protocol):
    name, _, seqid = protocol.readMessageBegin()
    text = ""
    protocol.readStructBegin()
    while True:
        _, kind, _ = protocol.readFieldBegin()
        if kind == TType.STOP:
            break
        text = protocol.readString()
        protocol.readFieldEnd()
    protocol.readStructEnd()
    protocol.readMessageEnd()
    return name, seqid, text


def serve_headers(transport, protocol, version):
    listening = socket.create_server(("127.0.0.1", 0))
    print(f"READY {listening.getsockname()[1]}", flush=True)

    def talk(sock):
        served = header_protocol(sock, transport, protocol)
        try:
            while True:
                name, seqid, text = read_message(served)
                trace = served.get_headers().get(b"trace")
                if name == "note":
                    continue
                if trace:
                    served.set_header(b"trace", trace)
                write_message(served, name, TMessageType.REPLY, seqid, 0, f"hello {text} from {version}")
        except TTransportException:
            sock.close()

    while True:
        threading.Thread(target=talk, args=(listening.accept()[0],), daemon=True).start()


def call_headers(transport, protocol, port):
    sock = socket.create_connection(("127.0.0.1", port), 10)
    client = header_protocol(sock, transport, protocol)
    got = {}
    for seqid, (name, kind) in enumerate([("hello", TMessageType.CALL), ("note", TMessageType.ONEWAY)] * 2, 7):
        client.set_header(b"trace", b"fig")
        write_message(client, name, kind, seqid, 1, "fig")
        if kind == TMessageType.CALL:
            answered, replied, text = read_message(client)
            trace = client.get_headers().get(b"trace", b"").decode()
            got[f"{answered} {replied == seqid}"] = f"{text} {trace}"
    sock.close()
    return got


def main(role, transport, protocol, last):
    headers = transport in ("header", "zlib")
    if role == "talk":
        talk(protocol, int(last))
    elif role == "serve":
        (serve_headers if headers else serve)(transport, protocol, last)
    else:
        print(json.dumps((call_headers if headers else call)(transport, protocol, int(last))), flush=True)


main(*sys.argv[1:])
