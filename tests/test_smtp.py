import pandas as pd
from conversation import conversation

from smtpkit import smtp
from smtpkit.capture import payload_of

MESSAGE = b"Received: by a.example.org\r\n\tid 1abcDE-000001-2x\r\n\r\nhello\r\n.\r\n"
HEAD = "0.00 > S seq=0\n0.03 < SA seq=0 ack=1\n0.03 > A seq=1 ack=1\n"


def spoken(*lines):
    """A batch with one packet for each (time, sign, bytes), all delivered in order."""
    text, payload, offsets = HEAD, b"", []
    sent = {">": 1, "<": 1}
    for time, sign, data in lines:
        other = sent["<" if sign == ">" else ">"]
        text += f"{time} {sign} PA seq={sent[sign]} ack={other} len={len(data)}\n"
        sent[sign] += len(data)
        offsets.append(len(payload))
        payload += data
    packets = conversation(text)
    packets["payload_offset"] = pd.array([pd.NA] * 3 + offsets, dtype="Int64")
    return packets, memoryview(payload)


def transactions(*lines):
    packets, payload = spoken(*lines)
    return smtp.listen([(packets, payload_of(packets, payload))]).transactions


def test_data_starts_behind_the_354_and_ends_with_its_reply():
    found = transactions(
        (0.1, "<", b"220 mx.example.net ESMTP\r\n"),
        (0.2, ">", b"EHLO a.example.org\r\n"),
        (0.3, "<", b"250-mx.example.net\r\n250 SIZE 1000\r\n"),
        (0.4, ">", b"MAIL FROM:<a@example.org>\r\n"),
        (0.5, "<", b"250 OK\r\n"),
        (0.6, ">", b"DATA\r\n"),
        (0.7, "<", b"354 go ahead\r\n"),
        (0.8, ">", MESSAGE),
        (0.9, "<", b"250 OK id=1xyzZZ-000009-0A\r\n"),
        (1.0, ">", b"QUIT\r\n"),
        (1.1, "<", b"221 closing\r\n"),
    )
    assert len(found) == 1
    one = found.iloc[0]
    assert one["message_id"] == "1abcDE-000001-2x"
    assert (one["reply_code"], one["reply"]) == (250, "OK id=1xyzZZ-000009-0A")
    assert one["data_seq"] == 1000 + 1 + len(b"EHLO a.example.org\r\nMAIL FROM:<a@example.org>\r\nDATA\r\n")
    assert one["data_end_seq"] - one["data_seq"] == len(MESSAGE)
    assert (one["end"] - one["start"]).total_seconds() == 0.2


def test_two_messages_on_one_connection_and_ids_of_both_lengths():
    found = transactions(
        (0.4, ">", b"MAIL FROM:<a@example.org>\r\n"),
        (0.7, "<", b"354 go\r\n"),
        (0.8, ">", b"Received: x\r\n\tid 1abcDE-000001-2x\r\n"),
        (0.9, "<", b"250 first\r\n"),
        (1.4, ">", b"MAIL FROM:<b@example.org>\r\n"),
        (1.5, "<", b"250 sender\r\n"),
        (1.7, "<", b"354 go\r\n"),
        (1.8, ">", b"Received: x\r\n\tid 1abcDE-00000000abc-1234\r\n"),
        (1.9, "<", b"451 later\r\n"),
    )
    assert found["message_id"].tolist() == ["1abcDE-000001-2x", "1abcDE-00000000abc-1234"]
    assert found["reply"].tolist() == ["first", "later"]
    assert found["transaction"].tolist() == [0, 1]


def test_chunks_with_pipelined_replies():
    found = transactions(
        (
            0.4,
            ">",
            b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 40 LAST\r\n"
            b"Received: x\r\n\tid 1abcDE-000001-2x\r\n\r\nx\r\n",
        ),
        (0.5, "<", b"250 OK\r\n250 Accepted\r\n"),
        (0.6, "<", b"250- 40 byte chunk\r\n250 OK id=1xyzZZ-000009-0A\r\n221 bye\r\n"),
    )
    assert (found["message_id"].iloc[0], found["reply"].iloc[0]) == (
        *("1abcDE-000001-2x", "OK id=1xyzZZ-000009-0A"),
    )


def test_a_client_cannot_reply_and_a_server_cannot_name_a_message():
    found = transactions(
        (0.3, "<", b"220 id 1abcDE-000001-2x\r\n"),
        (0.4, ">", b"MAIL FROM:<a@example.org>\r\n"),
        (0.7, "<", b"354 go\r\n"),
        (0.8, ">", b"Subject: x\r\n\r\n250 forged\r\n"),
    )
    assert found[["message_id", "reply"]].isna().all(axis=None)


def test_noise_is_no_transaction():
    assert transactions((0.1, ">", bytes(range(256))), (0.2, "<", b"\x16\x03\x01354 \r\n")).empty
