from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.cli.errors import UsageError
from towline.cli.template import compile_template, unescape

VALUE = {
    "Name": "web",
    "Id": "abc",
    "Flag": True,
    "Off": False,
    "Count": 3,
    "Nothing": None,
    "IPAM": {"Driver": "default", "Config": [{"Subnet": "10.0.0.0/24"}, {"Subnet": "fd00::/64"}]},
    "Labels": {"b": "2", "a": "1"},
    "Empty": {},
}


@pytest.mark.parametrize(
    ("source", "want"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "web"),
        ("{{ .Name }}/{{.IPAM.Driver}}", "web/default"),
        ("{{.Flag}} {{.Count}} {{.Nothing}} {{.Labels}}", "true 3 <no value> map[a:1 b:2]"),
        ("{{.Labels.a}}{{.Labels.none}}", "1<no value>"),
        ("{{json .Labels}}", '{"b":"2","a":"1"}'),
        ("{{json .}}", None),
        ("{{.Name | upper | json}}", '"WEB"'),
        ('{{index .Labels "a"}} {{index .IPAM.Config 1 "Subnet"}}', "1 fd00::/64"),
        ("{{len .IPAM.Config}}", "2"),
        ("{{range .IPAM.Config}}{{.Subnet}} {{end}}", "10.0.0.0/24 fd00::/64 "),
        ("{{range $i, $c := .IPAM.Config}}{{if $i}},{{end}}{{$c.Subnet}}{{end}}", "10.0.0.0/24,fd00::/64"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "a=1;b=2;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Nothing}}x{{end}}", ""),
        ("{{range .IPAM.Config}}{{$.Name}}{{end}}", "webweb"),
        ("{{if .Off}}a{{else if eq .Name `web`}}b{{else}}c{{end}}", "b"),
        ("{{if and .Flag (not .Off)}}yes{{end}}", "yes"),
        ("{{with .IPAM}}{{.Driver}}{{end}}{{with .Nothing}}x{{else}}y{{end}}", "defaulty"),
        ("a  {{- .Name -}}  b", "awebb"),
        ("{{/* words */}}x", "x"),
        ('{{join (split "a-b" "-") "+"}}', "a+b"),
        ('{{"a \\"b\\""}}{{truncate .Name 2}}', 'a "b"we'),
        ("{{println .Name .Count}}", "web 3\n"),
        ("{{or .Off .Name}}{{ne 1 2}}{{title .Name}}{{lower `A`}}", "webtrueWeba"),
    ],
)
def test_templates_as_go_fills_them(source: str, want: str | None) -> None:
    got = compile_template(source)(VALUE)
    assert got == want or (want is None and got.startswith('{"Name":"web"'))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{.Nmae}}", "there is no field .Nmae; there are: Name, Id"),
        ("{{.Name", "is not closed"),
        ("{{}}", "an action is empty"),
        ("{{nope .Name}}", "there is no function nope; there are: and, eq"),
        ("{{range .Labels}}", "{{range}} has no {{end}}"),
        ("{{end}}", "{{end}} without a block"),
        ("{{if .Flag}}{{else}}{{else}}{{end}}", "{{if}} has no {{end}}"),
        ("{{if .Flag}}{{else for}}{{end}}", "{{else for}} is not understood"),
        ("{{range .Name}}{{end}}", "neither a list nor a map"),
        ("{{.Name.First}}", "has no field .First"),
        ("{{len .Count}}", "len cannot be used on: 3"),
        ("{{index .IPAM.Config 7}}", "index cannot be used on"),
        ("{{.Name .Id}}", "only functions take arguments"),
        ('{{"open}}', "is not closed"),
        ("{{(.Name}}", '"(" without ")"'),
        ("{{.Name)}}", '")" without "("'),
        ("{{$x}}", "there is no variable $x"),
        ("{{a..b}}", "is not understood"),
        ("{{.a..b}}", "is not understood"),
        ("{{range $a, $b, $c := .Labels}}{{end}}", "are not one or two variables"),
        ("{{if $a := .Name}}{{end}}", "variables are for range only"),
        ("{{if 1}}" * 100, "nested too deeply"),
        ("{{" + "(" * 100 + "}}", "nested too deeply"),
    ],
)
def test_faults_are_named(source: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        compile_template(source)(VALUE)
    assert words in caught.value.message


@given(st.text(alphabet='{}.$|()"` \\abrangeifend:=,1-', max_size=60))
def test_no_text_breaks_the_compiler(source: str) -> None:
    try:
        compile_template("{{" + source + "}}")(VALUE)
    except UsageError:
        return


def test_escapes_of_the_shell() -> None:
    assert unescape("a\\tb\\n") == "a\tb\n"
