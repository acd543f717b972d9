"""The longer lists of the attack suite: network, processes, kernel, resources, and what is harmless."""

# ruff: noqa: E501 - attacks are read as they are typed
from __future__ import annotations

_PY = "{P} -c '"


def _python(code: str) -> str:
    return f"{_PY}{code}'"


def _call(number: int, *arguments: int) -> str:
    """A system call on x86_64 that says BITTEN when the kernel lets it through."""
    given = ",".join(str(one) for one in (number, *arguments))
    return _python(f'import ctypes; l=ctypes.CDLL(None); print("BITTEN" if l.syscall({given})>=0 else "no")')


NETWORK = (
    "exec 3<>/dev/tcp/127.0.0.1/{T}",
    "echo x > /dev/udp/127.0.0.1/{U}",
    _python('import socket; socket.create_connection(("127.0.0.1",{T}))'),
    _python('import socket; socket.create_connection(("localhost",{T}))'),
    _python('import socket; socket.create_connection(("::ffff:127.0.0.1",{T}))'),
    _python('import socket; socket.socket(2,2).sendto(b"x",("127.0.0.1",{U}))'),
    _python('import socket; s=socket.socket(1,1); s.connect("{X}"); s.send(b"x")'),
    _python('import socket; s=socket.socket(1,1); s.connect("\\0{A}"); s.send(b"x")'),
    _python('import urllib.request; urllib.request.urlopen("http://127.0.0.1:{T}/",timeout=1)'),
    _python('import http.client; c=http.client.HTTPConnection("127.0.0.1",{T},timeout=1); c.request("GET","/")'),
    _python('import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); s.listen(); print("BITTEN")'),
    _python('import socket; socket.socket(socket.AF_NETLINK,socket.SOCK_RAW); print("BITTEN")'),
    _python('import socket; socket.socket(socket.AF_INET6); print("BITTEN")'),
    "(sleep 0; exec 3<>/dev/tcp/localhost/{T}) & wait",
)
PROCESSES = (
    "kill -9 {V}",
    "kill -STOP {V} && echo BITTEN",
    _python("import os; os.kill({V},9)"),
    _python("import os,signal; signal.pidfd_send_signal(os.pidfd_open({V}),9)"),
    _python('import resource; resource.prlimit({V},resource.RLIMIT_CORE,(0,0)); print("BITTEN")'),
    _python('import os; os.setpriority(0,{V},19); print("BITTEN")'),
    _python('import os; os.sched_setaffinity({V},os.sched_getaffinity({V})); print("BITTEN")'),
    "cat /proc/{V}/environ | tr '\\0' '\\n'",
    "cat /proc/{B}/environ | tr '\\0' '\\n'",
    "tr '\\0' '\\n' < /proc/1/environ; tr '\\0' '\\n' < /proc/{B}/environ",
    "for f in /proc/[0-9]*/environ; do cat $f 2>/dev/null; done | tr '\\0' '\\n'",
    "env",
    "cat /proc/self/environ | tr '\\0' '\\n'",
    "cat /proc/{V}/root{O}/secret",
    "ls -l /proc/{V}/exe && cat /proc/{V}/maps && echo BITTEN",
    _python('import ctypes; l=ctypes.CDLL(None); print("BITTEN" if l.ptrace(16,{V},0,0)==0 else "no")'),
)
KERNEL = (
    _call(272, 0x10000000),
    _call(272, 0x00020000),
    _call(272, 0x40000000),
    _call(272, 0x20000000),
    _call(56, 0x10000011, 0, 0, 0, 0).replace("print(", "print("),
    "unshare -Ur true && echo BITTEN",
    "unshare -m true && echo BITTEN",
    "unshare -n true && echo BITTEN",
    "mknod device c 1 1 && echo BITTEN",
    "mknod disk b 7 0 && echo BITTEN",
    _python('import os; os.chroot("{W}"); print("BITTEN")'),
    _python('import os; os.setuid(0); open("{O}/new","w")'),
    _call(248, 0, 0, 0, 0, 0).replace("248,0,0,0,0,0", '248,b"user",b"a",b"b",1,-2'),
    _call(323, 0),
    _call(319, 0, 0).replace("319,0,0", '319,b"x",0'),
    _call(425, 4, 0).replace("425,4,0", "425,4,ctypes.create_string_buffer(200)"),
    _call(29, 0, 4096, 0o1600),
    _call(68, 0, 0o1600),
    _call(304, -1, 0, 0) + " && cat {O}/secret",
    _call(103, 10, 0, 0),
    _call(170, 0, 0).replace("170,0,0", '170,b"x",0'),
    "cat /etc/shadow && echo BITTEN",
    "head -c 1 /dev/mem /dev/kmsg /dev/sda /dev/vda 2>/dev/null | grep -q . && echo BITTEN",
    "echo x > /proc/sys/kernel/hostname && echo BITTEN; cat {O}/secret",
    "ls /root/ && echo BITTEN",
    "echo x > /usr/canary-of-the-bench && rm /usr/canary-of-the-bench && echo BITTEN",
)
RESOURCES = (
    ":(){{ :|:& }};:",
    "f() {{ f & f & wait; }}; f",
    _python("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass"),
    _python(
        "import threading,time\nthreading.stack_size(65536)\nwhile True: threading.Thread(target=time.sleep,args=(9,)).start()"
    ),
    _python("x=[]\nwhile True: x.append(bytearray(1<<20))"),
    _python(
        'import os,time\nfor _ in range(20):\n  if os.fork()==0:\n    x=bytearray(b"x")*(200<<20); time.sleep(9)\ntime.sleep(9)'
    ),
    _python('import mmap,time\nx=[mmap.mmap(-1,1<<28) for _ in range(64)]\nfor m in x: m.write(b"x"*(1<<28))'),
    "yes",
    "yes >&2",
    "cat /dev/zero",
    "while :; do echo x > f$RANDOM$RANDOM; done",
    "dd if=/dev/zero of=big bs=1M count=4000",
    "for i in $(seq 200); do dd if=/dev/zero of=f$i bs=1M count=60 2>/dev/null; done",
    "while :; do mkdir d; cd d; done",
    _python(
        'import os\nh=[]\nfor i in range(200):\n  f=open("g","wb"); os.unlink("g"); f.write(bytes(60<<20)); f.flush(); h.append(f)\nimport time; time.sleep(9)'
    ),
    "while :; do :; done",
    "sleep 999",
    "(sleep 999 &) ; (setsid sleep 999 &) ; nohup sleep 999 >/dev/null 2>&1 & sleep 999",
    _python(
        "import os,time\nif os.fork()==0:\n  try: os.setsid()\n  except OSError: pass\n  if os.fork()==0: time.sleep(999)\n  os._exit(0)\ntime.sleep(999)"
    ),
    "trap '' TERM INT HUP; while :; do sleep 1; done",
    _python(
        "import signal,time\nfor s in range(1,30):\n  try: signal.signal(s,signal.SIG_IGN)\n  except OSError: pass\ntime.sleep(999)"
    ),
    _python('h=[]\nimport time\ntry:\n  while True: h.append(open("/dev/null"))\nexcept OSError: time.sleep(999)'),
)
BENIGN = (
    "ls", "ls -la", "cat a.txt", "head -1 a.txt", "wc -l a.txt", "sort a.txt", "sort -r a.txt | uniq -c", "grep one a.txt",
    "grep -rn one .", "grep -c 'rm -rf' danger.txt", "echo 'DROP TABLE orders' > note.txt", "cp a.txt b.txt", "cp a.txt b.txt && mv b.txt c.txt",
    "cp a.txt c.txt && rm c.txt", "mkdir -p x/y/z", "mkdir -p x/y/z && rmdir x/y/z", "touch made", "ln -s a.txt link && cat link", "ln a.txt hard && cat hard",
    "find . -name '*.txt'", "find . -type f -exec wc -c {{}} +", "find . -name '*.tmp' -delete", "sed s/one/1/ a.txt", "tr a-z A-Z < a.txt",
    "cut -c1-2 a.txt", "paste a.txt a.txt", "tee copy.txt < a.txt", "diff a.txt a.txt", "cmp a.txt a.txt", "md5sum a.txt", "sha256sum a.txt",
    "base64 a.txt | base64 -d", "tar cf x.tar a.txt && tar tf x.tar", "tar czf x.tgz a.txt && tar xzf x.tgz -O", "gzip -k -f a.txt && zcat a.txt.gz",
    "seq 1 1000 | tail -1", "for i in 1 2 3; do echo $i; done", "if [ -f a.txt ]; then echo yes; fi", "[[ a == a ]] && echo same", "x=1; echo $((x+1))",
    "printf '%s\\n' a b c", "date", "true", "sleep 0.1", "(echo sub; echo shell)", "echo a | xargs echo", "env", "pwd", "whoami || id -u",
    "echo $HOME && cd ~ && touch here", "mktemp", "cat > new.txt <<'END'\nhello\nEND", "bash -c 'echo nested'", "timeout 5 echo in time", "nice -n 1 echo nice",
    "sleep 0.2 & wait", "trap 'echo bye' EXIT", "yes | head -1000 | wc -l", "dd if=/dev/zero of=small bs=1M count=8 2>/dev/null", "head -c 100 /dev/urandom | wc -c",
    "echo x > /dev/null", "chmod_test=1; echo ok", "kill -0 $$",
    _python("print(sum(range(10)))"), _python('import json,re,math; print(json.dumps({{"a":1}}))'),
    _python('open("p.txt","w").write("x"); import os; os.remove("p.txt")'), _python("import tempfile; print(tempfile.mkdtemp())"),
    _python('import subprocess; print(subprocess.run(["echo","hi"],capture_output=True,text=True).stdout)'),
    _python("import threading; t=threading.Thread(target=print,args=(1,)); t.start(); t.join()"),
    _python('import sqlite3; c=sqlite3.connect("db"); c.execute("create table t(a)"); c.commit(); print(c.execute("select 1").fetchone())'),
    _python("import asyncio; asyncio.run(asyncio.sleep(0.01))"), _python('import csv,io; print(list(csv.reader(io.StringIO("a,b"))))'),
    _python('import zipfile; z=zipfile.ZipFile("z.zip","w"); z.writestr("a","b"); z.close()'),
    _python("x=bytearray(200<<20); print(len(x))"), _python('import hashlib; print(hashlib.sha256(b"").hexdigest())'),
)  # fmt: skip
