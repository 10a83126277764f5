"""``--isolate-oci``: tests' sandboxes as bundles, for runc, crun and what is built on them."""

from __future__ import annotations

from pytest_isolate._report import reporting
from pytest_isolate._session.run import working_directory
from pytest_isolate._test.artifacts import file_name, free
from pytest_isolate._test.states import Finished


def keep_bundle(ended: Finished, *, failed: bool) -> str | None:
    """Write the bundle of a test that is over. Returns a line that says where it is, or why not."""
    test, config = ended.test, ended.test.item.config
    where = config.getoption("isolate_oci")
    if where is None or not (failed or config.getoption("isolate_oci_of") == "all"):
        return None
    from pytest_isolate._oci import bundle, tree  # noqa: PLC0415 - for those who want one

    folder = config.invocation_params.dir / where
    try:
        target = free(folder, file_name(ended))
        host = test.run.machine.host
        bundle.write(
            test.item, ended.spec, ended.plan, host, bundle=target, cwd=working_directory(),
            variables=test.run.machine.roots.variables(ended.spec.rootfs),
        )  # fmt: skip
    except (tree.NoBundleError, OSError) as error:
        line = f"there is no bundle of it in {folder}: {error}"
        if not failed and line not in test.run.said_of_bundles:  # else its section says so
            test.run.said_of_bundles.add(line)
            test.troubles.append(f"isolate: {test.name}: {line}")
        return line
    test.run.reporting.bundles.append(str(target))
    return f"bundle: {reporting.command(str(target))}"
