"""Validates the reports of the built command against the schemas of their formats.

schemas.py EMBER SOURCE_DIR TOOLS_DIR

TOOLS_DIR is what tests/report/fetch filled. Exits 77 (skipped) when it is not there.
"""

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


def check_json(ember, folder):
    import jsonschema
    schema = json.loads(subprocess.run([ember, "schema"], capture_output=True, text=True, check=True).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    report = json.loads((folder / "r.json").read_text())
    validator.validate(report)
    missing = sorted(set(undescribed(schema, schema, report, "")))
    assert not missing, f"keys that 'ember schema' does not describe: {missing}"
    for spoil in (lambda r: r.pop("samples"), lambda r: r["layers"][0]["channels"][0].update(verdict="dead"),
                  lambda r: r.update(schema="ember-audit-0"), lambda r: r["summary"].update(silent=-1)):
        spoilt = json.loads((folder / "r.json").read_text())
        spoil(spoilt)
        assert not validator.is_valid(spoilt), "the schema accepts a spoilt report"


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
    for key, part in (("deaths", "death"), ("births", "birth")):
        missing = sorted(set(undescribed(schema, schema["$defs"][part], report[key], "")))
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


def sarif_errors(log):
    """What the SARIF 2.1.0 schema has against a log."""
    import pydantic
    from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Sarif
    try:
        Sarif.model_validate_json(json.dumps(log), strict=True)
    except pydantic.ValidationError as error:
        return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return []


def check_sarif(folder, findings):
    log = json.loads((folder / "r.sarif").read_text())
    assert sarif_errors(log) == []
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
                  lambda l: l["runs"][0]["invocations"][0].pop("executionSuccessful")):
        spoilt = json.loads((folder / "r.sarif").read_text())
        spoil(spoilt)
        assert sarif_errors(spoilt), "the schema accepts a spoilt log"


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
    if not python.exists() or not (tools / "junit-jenkins.xsd").exists():
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
            check_json(ember, folder)
            check_junit(tools, folder, failures)
            check_sarif(folder, findings)
            assert report["gradient"]["labelled"] == report["samples"]
            print(f"{model}: JSON, SARIF ({findings} results) and JUnit ({failures} failures) are valid")
        check_checkpoints(ember, source / "models", folder)
        print("checkpoints: JSON is valid")


main()
