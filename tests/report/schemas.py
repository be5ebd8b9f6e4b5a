"""Validates the reports of the built command against the schemas of their formats.

schemas.py EMBER SOURCE_DIR TOOLS_DIR

TOOLS_DIR is what tests/report/fetch filled. Exits 77 (skipped) when it is not there.
"""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77


def skip(why):
    print(f"skipped: {why} (run tests/report/fetch)")
    sys.exit(SKIPPED)


def audit(ember, models, model, folder, *arguments):
    """Every format for one bundled network; returns the exit status."""
    command = [ember, "audit", str(models / f"{model}.onnx"), "--data", str(models / "digits_calibration.npz"),
               "--labels", str(models / "digits_calibration.npz"), "--sarif", "r.sarif", "--junit", "r.xml", "--json", "r.json", "--quiet", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout == "", f"--quiet printed: {done.stdout}"
    return done.returncode


def undescribed(schema, part, value, path):
    """Keys of a report that its schema does not describe."""
    while "$ref" in part:
        part = schema["$defs"][part["$ref"].rsplit("/", 1)[1]]
    if isinstance(value, list):
        return [key for item in value for key in undescribed(schema, part.get("items", {}), item, path + "[]")]
    if not isinstance(value, dict):
        return []
    known = dict(part.get("properties", {}))
    for other in part.get("allOf", []):
        while "$ref" in other:
            other = schema["$defs"][other["$ref"].rsplit("/", 1)[1]]
        known.update(other.get("properties", {}))
    found = []
    for key, item in value.items():
        if key in known:
            found += undescribed(schema, known[key], item, f"{path}.{key}")
        else:
            found.append(f"{path}.{key}")
    return found


def check_json(ember, document, report, spoilers):
    """A report against its published schema, which describes all of it, and refuses what is spoilt."""
    import jsonschema
    schema = json.loads(subprocess.run([ember, "schema", document], capture_output=True, text=True, check=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(report)
    missing = sorted(set(undescribed(schema, schema, report, "")))
    assert not missing, f"keys that 'ember schema {document}' does not describe: {missing}"
    for spoil in spoilers:
        spoilt = copy.deepcopy(report)
        spoil(spoilt)
        assert not validator.is_valid(spoilt), f"the schema accepts a spoilt report: {json.dumps(spoilt)[:300]}"


def check_checkpoints(ember, models, folder):
    """Checkpoints by their own schema, and each one's report by that of an audit."""
    import jsonschema
    schema = json.loads(subprocess.run([ember, "schema", "checkpoints"], capture_output=True, text=True,
                                       check=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    steps = [str(models / f"digits_mlp_high_lr_step{step}.onnx") for step in ("000", "032", "064")]
    subprocess.run([ember, "audit", *steps, "--data", str(models / "digits_calibration.npz"), "--json", "c.json",
                    "--quiet"], cwd=folder, check=True)
    report = json.loads((folder / "c.json").read_text())
    validator.validate(report)
    assert report["deaths"], "nothing died: the case shows nothing"
    for key in ("deaths", "births"):
        missing = sorted(set(undescribed(schema, schema["properties"][key], report[key], "")))
        assert not missing, f"keys that 'ember schema checkpoints' does not describe: {missing}"
    missing = sorted(report.keys() - schema["properties"].keys())
    assert not missing, f"keys that 'ember schema checkpoints' does not describe: {missing}"
    audits = json.loads(subprocess.run([ember, "schema"], capture_output=True, text=True, check=True).stdout)
    for checkpoint in report["checkpoints"]:
        jsonschema.Draft202012Validator(audits).validate(checkpoint)
    for spoil in (lambda r: r.pop("deaths"), lambda r: r["deaths"][0].update(cause="bad luck"),
                  lambda r: r.update(schema="ember-audit-1"), lambda r: r["checkpoints"].clear()):
        spoilt = json.loads((folder / "c.json").read_text())
        spoil(spoilt)
        assert not validator.is_valid(spoilt), "the schema accepts a spoilt report"


def check_audit(ember, folder):
    check_json(ember, "audit", json.loads((folder / "r.json").read_text()), (
        lambda r: r.pop("samples"), lambda r: r["layers"][0]["channels"][0].update(verdict="dead"),
        lambda r: r.update(schema="ember-audit-0"), lambda r: r["summary"].update(silent=-1)))


def check_comparison(ember, models, folder):
    """Of the healthy and the dying digits networks; of the latter one layer is another, and the last is gone."""
    for model, name in (("digits_cnn", "before.json"), ("digits_cnn_dead_bias", "after.json")):
        audit(ember, models, model, folder)
        report = json.loads((folder / "r.json").read_text())
        if name == "after.json":
            del report["layers"][-1]
            first = report["layers"][0]
            first.update(node="another", op="Elu", fingerprint="another")
            for channel in first["channels"]:
                channel.update(fingerprint=f"another {channel['index']}", verdict="silent", rate_bound=0.1)
        (folder / name).write_text(json.dumps(report))
    done = subprocess.run([ember, "compare", "before.json", "after.json", "--json"], cwd=folder, capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1, done.stderr
    comparison = json.loads(done.stdout)
    assert comparison["layers"] and comparison["layers_added"] and comparison["layers_removed"], "a poor example"
    changed = next(layer for layer in comparison["layers"] if layer["changes"])["after_node"]
    change = lambda c: next(layer for layer in c["layers"] if layer["after_node"] == changed)["changes"][0]
    check_json(ember, "comparison", comparison, (
        lambda c: c.pop("after"), lambda c: c["before"].pop("samples"), lambda c: c["summary"].pop("recovered"),
        lambda c: change(c).update(after="dead"), lambda c: change(c).update(change="better"),
        lambda c: change(c).pop("after_index"), lambda c: c.update(schema="ember-audit-1")))
    print(f"comparison: valid, {sum(comparison['summary'].values())} changes")


def sarif_validator(tools):
    import jsonschema
    schema = json.loads((tools / "sarif-schema-2.1.0.json").read_text())
    assert "sarif-schema-2.1.0" in schema["$id"], schema["$id"]
    jsonschema.Draft7Validator.check_schema(schema)
    formats = jsonschema.Draft7Validator.FORMAT_CHECKER
    assert {"uri", "uri-reference", "date-time"} <= set(formats.checkers), "formats would not be looked at"
    return jsonschema.Draft7Validator(schema, format_checker=formats)


def check_sarif(tools, folder, findings):
    validator = sarif_validator(tools)
    log = json.loads((folder / "r.sarif").read_text())
    validator.validate(log)
    run = log["runs"][0]
    assert len(run["results"]) == findings, f"{len(run['results'])} results"
    rules = run["tool"]["driver"]["rules"]
    prints = set()
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        prints.add(tuple(result["partialFingerprints"].values()))
    assert len(prints) == findings, "results share a fingerprint"
    for spoil in (lambda l: l.update(version="2.0.0"), lambda l: l.update(mood="good"), lambda l: l.pop("runs"),
                  lambda l: l["runs"][0]["tool"]["driver"].pop("name"),
                  lambda l: l["runs"][0]["invocations"][0].update(executionSuccessful="yes"),
                  lambda l: l["runs"][0]["invocations"][0].pop("executionSuccessful"),
                  lambda l: l["runs"][0]["tool"]["driver"].update(informationUri="not a uri")):
        spoilt = copy.deepcopy(log)
        spoil(spoilt)
        assert not validator.is_valid(spoilt), "the schema accepts a spoilt log"


def check_junit(tools, folder, failures):
    from lxml import etree
    report = etree.parse(str(folder / "r.xml"))
    assert len(report.findall(".//failure")) == failures, "failures"
    schema = etree.XMLSchema(etree.parse(str(tools / "junit-jenkins.xsd")))
    schema.assertValid(report)
    report.getroot().append(etree.Element("mood"))
    assert not schema.validate(report), "the schema accepts a spoilt report"


def main():
    ember, source, tools = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    python = tools / "venv" / "bin" / "python"
    if not all(file.exists() for file in (python, tools / "junit-jenkins.xsd", tools / "sarif-schema-2.1.0.json")):
        skip("no schemas")
    if sys.prefix != str(tools / "venv"):
        sys.exit(subprocess.run([str(python), *sys.argv], check=False).returncode)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for model, status in (("digits_cnn", 0), ("digits_mlp_high_lr", 1)):
            assert audit(ember, source / "models", model, folder, "--max-silent", "0") == status, model
            report = json.loads((folder / "r.json").read_text())
            findings = sum(l["summary"]["healthy"] < l["summary"]["channels"] for l in report["layers"])
            failures = sum(l["summary"]["silent"] + l["summary"].get("proved_dead", 0) > 0 for l in report["layers"])
            assert (failures > 0) == (status == 1), model
            check_audit(ember, folder)
            check_junit(tools, folder, failures)
            check_sarif(tools, folder, findings)
            assert report["gradient"]["labelled"] == report["samples"]
            print(f"{model}: JSON, SARIF ({findings} results) and JUnit ({failures} failures) are valid")
        check_comparison(ember, source / "models", folder)
        check_checkpoints(ember, source / "models", folder)
        print("checkpoints: JSON is valid")


main()
