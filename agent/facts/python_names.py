"""Names of Python that say something of what code does: what deletes, writes, speaks to others, or hides."""

from __future__ import annotations

DESTRUCTIVE = frozenset(
    {
        "os.remove", "os.unlink", "os.rmdir", "os.removedirs", "os.truncate", "os.ftruncate", "os.kill", "os.killpg",
        "shutil.rmtree", "shutil.move", "os.rename", "os.renames", "os.replace",
        "distutils.dir_util.remove_tree", "os.O_TRUNC",
    }
)  # fmt: skip
#: Methods of pathlib.Path that no other common type has.
DESTRUCTIVE_METHODS = frozenset({"unlink", "rmdir", "rmtree", "truncate"})
WRITING_METHODS = frozenset(
    {"write_text", "write_bytes", "touch", "mkdir", "chmod", "symlink_to", "hardlink_to", "makedirs"}
)
STARTS = (
    "subprocess.", "os.system", "os.popen", "os.exec", "os.spawn", "os.posix_spawn", "os.startfile", "pty.",
    "asyncio.create_subprocess_", "multiprocessing.", "os.fork", "webbrowser.",
    "distutils.spawn", "test.support.script_helper",
)  # fmt: skip
NETWORK = frozenset(
    {
        "socket", "ssl", "http", "urllib", "ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "xmlrpc", "requests",
        "httpx", "aiohttp", "urllib3", "socketserver", "nntplib", "paramiko", "websockets",
    }
)  # fmt: skip
#: Libraries of services (clouds, money, messages, stores, clusters); only imports count, for many are common words.
SERVICES = frozenset(
    {
        "boto3", "botocore", "aiobotocore", "google", "googleapiclient", "azure", "docker",
        "digitalocean", "kubernetes",
        "cloudflare", "hcloud", "openstack", "libcloud", "pulumi", "stripe", "braintree", "paypalrestsdk", "square",
        "plaid", "adyen", "web3", "snowflake", "psycopg", "psycopg2", "pymysql", "MySQLdb", "mysql", "aiomysql",
        "pymongo", "redis", "aioredis", "elasticsearch", "opensearchpy", "cassandra", "clickhouse_driver",
        "pyodbc", "oracledb", "cx_Oracle", "pymssql", "kafka", "confluent_kafka", "aiokafka", "pika",
        "celery", "nats", "slack_sdk", "slack_bolt", "twilio", "sendgrid", "mailchimp", "discord", "telegram", "tweepy",
        "github", "gitlab", "jira", "hvac", "ldap3", "fabric", "asyncssh", "pysftp", "grpc", "websocket", "openai",
        "anthropic", "huggingface_hub", "pexpect", "asyncpg", "motor", "clickhouse_connect",
    }
)  # fmt: skip
CONNECTS = frozenset(
    {"asyncio.open_connection", "asyncio.start_server", "asyncio.open_unix_connection", "asyncio.start_unix_server"}
)
#: Libraries whose every use starts another program; as the above, only their imports count.
RUNNERS = frozenset({"sh", "plumbum", "invoke", "pexpect", "fabric"})
#: Sub-modules of the above that only take text apart.
NO_NETWORK = ("urllib.parse", "http.HTTPStatus")
#: What hides from a reader what will be executed or touched.
OPAQUE = frozenset(
    {
        "eval", "exec", "compile", "__import__", "globals", "locals", "vars", "importlib.import_module", "__builtins__",
        "builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__", "runpy.run_path",
        "runpy.run_module", "pickle.loads", "pickle.load", "marshal.loads", "marshal.load", "code.interact",
        "types.FunctionType", "types.CodeType", "operator.attrgetter", "operator.methodcaller", "sys.modules",
        # They run, load or look up what a text or a file says.
        "timeit.timeit", "timeit.repeat", "timeit.Timer", "cProfile.run", "cProfile.runctx", "profile.run",
        "profile.runctx", "pdb.run", "pdb.runeval", "pdb.runcall", "bdb.Bdb", "trace.Trace",
        "code.InteractiveInterpreter",
        "code.InteractiveConsole", "code.compile_command", "codeop.compile_command", "codeop.Compile",
        "pkgutil.resolve_name", "pydoc.locate", "pydoc.safeimport", "logging.config.dictConfig",
        "logging.config.listen",
        "logging.config.fileConfig", "zipimport.zipimporter", "shelve.open", "__loader__", "__spec__", "sys._getframe",
        "gc.get_objects", "gc.get_referrers", "pickle.Unpickler", "pandas.read_pickle", "torch.load", "joblib.load",
        "dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads", "yaml.unsafe_load", "yaml.full_load",
        "yaml.UnsafeLoader",
    }
)  # fmt: skip
#: Functions that write where their arguments say.
WRITING = frozenset(
    {
        "os.chmod", "os.lchmod", "os.chown", "os.lchown", "os.link", "os.symlink", "os.mkdir", "os.makedirs",
        "os.mkfifo", "os.mknod", "os.utime", "os.setxattr", "os.open", "shutil.copy", "shutil.copy2", "shutil.copyfile",
        "shutil.copytree", "shutil.copymode", "shutil.chown", "shutil.make_archive", "shutil.unpack_archive",
    }
)  # fmt: skip
OPAQUE_MODULES = frozenset({"ctypes", "cffi", "_ctypes", "posix", "_posixsubprocess"})
OPAQUE_ATTRIBUTES = frozenset(
    {"__subclasses__", "__globals__", "__dict__", "__builtins__", "__code__", "__getattribute__", "__import__",
     "f_builtins", "f_globals", "f_locals", "subprocess_exec", "subprocess_shell", "__loader__", "__reduce__"}
)  # fmt: skip
