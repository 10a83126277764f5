import pathlib


def pytest_sessionfinish(session):
    kept = pathlib.Path(session.config.rootpath, ".hypothesis", "examples")
    found = any(path.is_file() for path in kept.rglob("*")) if kept.is_dir() else False
    pathlib.Path(session.config.rootpath, "examples.txt").write_text(f"examples are kept: {found}")
