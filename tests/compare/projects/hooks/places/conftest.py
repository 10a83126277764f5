lines = []


def pytest_exception_interact(node, call):
    entry = call.excinfo.traceback[-1]
    lines.append(f"{node.name}: {entry.path.name}:{entry.lineno + 1} in {entry.name}: {str(entry.statement).strip()}")
    lines.append(f"  crash {call.excinfo._getreprcrash().lineno} {call.excinfo.getrepr(style='short').reprcrash.message}")
def pytest_terminal_summary(terminalreporter):
    for line in lines:
        terminalreporter.write_line(line)
