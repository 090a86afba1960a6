from hfbench.errors import one_line


def test_a_long_message_is_cut_between_words_and_one_word_where_it_must():
    words = one_line(" many\n words" * 100)
    assert words.endswith("words ...") or words.endswith("many ...")
    assert 290 < len(words) <= 300
    assert one_line("x" * 400) == "x" * 300
    assert one_line(ValueError("a\n  b")) == "a b"
