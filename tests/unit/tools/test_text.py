import pytest

from aria_ray.tools import ToolResult, execute


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("count_characters", {"text": "red hat"}, "7"),
        ("count_characters", {"text": ""}, "0"),
        ("first_words", {"text": "  one two   three", "count": 2}, "one two"),
        ("first_words", {"text": "one two", "count": 2}, "one two"),
        ("extract_pattern", {"text": "a1 b22 333", "pattern": r"\d+"}, "1, 22, 333"),
        ("extract_pattern", {"text": "see ana@example.com", "pattern": r"[\w.]+@[\w.]+"}, "ana@example.com"),
        ("extract_pattern", {"text": "ab ab", "pattern": "(a)(b)"}, "ab, ab"),
        ("extract_pattern", {"text": "Änne ist über 7", "pattern": r"ü\w+"}, "über"),
        ("extract_pattern", {"text": "abc", "pattern": "x*"}, "none"),
        ("extract_numbers", {"text": "3 pens, 1,200 cups and -4.5 degrees"}, "3, 1200, -4.5"),
        ("extract_numbers", {"text": "pages 10-20"}, "10, 20"),
        ("extract_numbers", {"text": "nothing"}, "none"),
        ("extract_numbers", {"text": "3.14159265"}, "3.14159265"),
        ("encode_base64", {"text": "red hat"}, "cmVkIGhhdA=="),
        ("encode_base64", {"text": "é"}, "w6k="),
        ("decode_base64", {"text": "cmVkIGhhdA=="}, "red hat"),
        ("url_encode", {"text": "a b/c?d=é"}, "a%20b%2Fc%3Fd%3D%C3%A9"),
    ],
)
def test_results(name, arguments, text):
    assert execute(name, arguments) == ToolResult(True, text)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("first_words", {"text": "one two", "count": 3}, "the text has only 2 words"),
        ("first_words", {"text": "one two", "count": 0}, "the count must be at least 1"),
        ("extract_pattern", {"text": "a", "pattern": "(a"}, "bad pattern: missing ): (a"),
        ("extract_pattern", {"text": "a", "pattern": "(?=a)"}, "bad pattern: invalid perl operator: (?="),
        ("extract_pattern", {"text": "a", "pattern": "a" * 201}, "the pattern is longer than 200 characters"),
        (
            "extract_pattern",
            {"text": "a", "pattern": r"(\pL{1,50}){1,18}x"},
            "bad pattern: pattern too large - compile failed",
        ),
        ("encode_base64", {"text": "x" * 800}, "the result is longer than 1000 characters"),
        ("encode_base64", {"text": "\ud800"}, "text: text must be valid Unicode"),
        ("decode_base64", {"text": "abc"}, "'abc' is not a text in base64"),
        ("decode_base64", {"text": "cm Vk"}, "'cm Vk' is not a text in base64"),
        ("decode_base64", {"text": "/w=="}, "'/w==' is not a text in base64"),
        ("decode_base64", {"text": "é"}, "'é' is not a text in base64"),
        ("url_encode", {"text": "é" * 200}, "the result is longer than 1000 characters"),
    ],
)
def test_failures(name, arguments, text):
    assert execute(name, arguments) == ToolResult(False, f"error: {text}")


@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|aa)+$b", "(a+)+c", "((a{1,9}){1,9})+b"])
def test_a_pattern_that_makes_others_backtrack_for_ever_just_does_not_match(pattern):
    assert execute("extract_pattern", {"text": "a" * 1000, "pattern": pattern}) == ToolResult(True, "none")


@pytest.mark.parametrize("text", ["a", "ab", "abc", "zwölf Boxkämpfer", "100% & more\n"])
def test_base64_there_and_back(text):
    encoded = execute("encode_base64", {"text": text}).text
    assert execute("decode_base64", {"text": encoded}) == ToolResult(True, text)
