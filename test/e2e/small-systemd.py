"""What systemd is to a service, as far as the tests need it: small-systemd.py DIRECTORY PROGRAM...

Opens a TCP socket by the name of smtp and DIRECTORY/lmtp.sock, hands them to the program
(sd_listen_fds(3)) and prints what it says by sd_notify(3), each as a line of JSON. SIGUSR1 starts
the program anew; SIGHUP goes to the program; SIGTERM too, and its exit code becomes ours.
"""

import ctypes, json, os, signal, socket, sys, threading

SIGNALS = {signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM}
directory, program = sys.argv[1], sys.argv[2:]
tcp = socket.create_server(("127.0.0.1", 0))
lmtp = socket.socket(socket.AF_UNIX)
lmtp.bind(directory + "/lmtp.sock")
lmtp.listen()
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(directory + "/notify")


def tell(**line):
    os.write(1, (json.dumps(line) + "\n").encode())


def listen():
    while True:
        tell(event="notified", text=notify.recv(4096).decode())


def start():
    pid = os.fork()
    if pid > 0:
        return pid
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # It does not outlive us.
    for at, one in ((3, tcp), (4, lmtp)):
        os.dup2(one.fileno(), at + 100, inheritable=False)
    for at in (3, 4):
        os.dup2(at + 100, at)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    mine = {
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": "2",
        "LISTEN_FDNAMES": "smtp:lmtp",
        "NOTIFY_SOCKET": os.environ.get("NOTIFY_SOCKET", directory + "/notify"),
        "WATCHDOG_PID": str(os.getpid()),
    }
    os.execvpe(program[0], program, {**os.environ, **mine})


signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
threading.Thread(target=listen, daemon=True).start()
tell(event="opened", port=tcp.getsockname()[1])
child = start()
while True:
    number = signal.sigwait(SIGNALS)
    os.kill(child, signal.SIGTERM if number == signal.SIGUSR1 else number)
    if number == signal.SIGHUP:
        continue
    _, status = os.waitpid(child, 0)
    tell(event="ended", code=os.waitstatus_to_exitcode(status))
    if number == signal.SIGTERM:
        sys.exit(os.waitstatus_to_exitcode(status))
    child = start()
