//! Start processes in new or existing Linux namespaces, safely, from any thread.
