"""General dialogue rows without a checkable answer: greetings, self-cognition, words to translate, simple facts.

They stand in for the 200k non-reasoning rows of the second SFT (DeepSeek-R1, rejection sampling and SFT: writing,
factual QA, self-cognition, translation), of which a tiny model can only learn the shape. No writing, no role play.
"""

from zero2r1.core.random import Address, Stream, key
from zero2r1.core.types import AnswerKind, Message, Prompt

GREETINGS = {
    "en": (
        ("Hello!", "Hello! How can I help you?"),
        ("Good morning.", "Good morning! What can I do for you?"),
        ("How are you?", "I am fine, thank you. How can I help?"),
        ("Thank you!", "You are welcome."),
        ("Goodbye.", "Goodbye, see you soon."),
    ),
    "zh": (
        ("你好！", "你好！有什么可以帮你？"),
        ("早上好。", "早上好！我能为你做什么？"),
        ("你好吗？", "我很好，谢谢。有什么可以帮你？"),
        ("谢谢！", "不客气。"),
        ("再见。", "再见，下次聊。"),
    ),
}
SELF = {
    "en": (
        ("Who are you?", "I am a small model that learned to think before it answers."),
        ("What can you do?", "I can work out small problems step by step."),
        ("Are you a person?", "No, I am a language model."),
        ("Which languages do you speak?", "I speak English and Chinese."),
    ),
    "zh": (
        ("你是谁？", "我是一个先思考再回答的小模型。"),
        ("你会做什么？", "我会一步一步解小题目。"),
        ("你是人吗？", "不是，我是一个语言模型。"),
        ("你会说什么语言？", "我会说中文和英文。"),
    ),
}
FACTS = {
    "en": (
        ("How many days are in a week?", "A week has seven days."),
        ("How many months are in a year?", "A year has twelve months."),
        ("What color is the sky?", "The sky is blue."),
        ("What is the capital of France?", "The capital of France is Paris."),
        ("What is the capital of China?", "The capital of China is Beijing."),
        ("What do bees make?", "Bees make honey."),
        ("Is ice cold or hot?", "Ice is cold."),
        ("Where does the sun rise?", "The sun rises in the east."),
    ),
    "zh": (
        ("一周有几天？", "一周有七天。"),
        ("一年有几个月？", "一年有十二个月。"),
        ("天空是什么颜色？", "天空是蓝色的。"),
        ("法国的首都是哪里？", "法国的首都是巴黎。"),
        ("中国的首都是哪里？", "中国的首都是北京。"),
        ("蜜蜂做什么？", "蜜蜂做蜂蜜。"),
        ("冰是冷的还是热的？", "冰是冷的。"),
        ("太阳从哪边升起？", "太阳从东边升起。"),
    ),
}
WORDS = (
    ("cat", "猫"),
    ("dog", "狗"),
    ("fish", "鱼"),
    ("bird", "鸟"),
    ("horse", "马"),
    ("water", "水"),
    ("fire", "火"),
    ("tree", "树"),
    ("flower", "花"),
    ("sun", "太阳"),
    ("moon", "月亮"),
    ("star", "星星"),
    ("mountain", "山"),
    ("river", "河"),
    ("book", "书"),
    ("door", "门"),
    ("friend", "朋友"),
    ("school", "学校"),
    ("teacher", "老师"),
    ("apple", "苹果"),
    ("tea", "茶"),
    ("rice", "米饭"),
    ("red", "红色"),
    ("green", "绿色"),
)


def general_rows(count: int, start: int, seed: int) -> list[tuple[Prompt, str]]:
    """Rows `start` to `start + count - 1`: a prompt (answer kind `none`) and its plain reply.

    Endless; row i is the same however drawn, half of the rows are English, half Chinese.
    """
    return [
        _row(Stream(key(Address(seed=seed, stage="tasks", step=i), "general"))) for i in range(start, start + count)
    ]


def _row(stream: Stream) -> tuple[Prompt, str]:
    language = stream.choice(("en", "zh"))
    kind = stream.choice(("greeting", "self", "fact", "translation", "translation"))
    if kind == "translation":
        question, reply = _translation(stream, language)
    else:
        tables = {"greeting": GREETINGS[language], "self": SELF[language], "fact": FACTS[language]}
        question, reply = stream.choice(tables[kind])
    prompt = Prompt(
        messages=(Message(role="user", content=question),),
        reference="",
        gold="",
        answer_kind=AnswerKind.NONE,
        domain="general",
        language=language,
    )
    return prompt, reply


def _translation(stream: Stream, language: str) -> tuple[str, str]:
    english, chinese = stream.choice(WORDS)
    if language == "en":
        return stream.choice((f"What does {chinese} mean in English?", f"Translate {chinese}.")), f"It means {english}."
    return stream.choice((f"{english}用中文怎么说？", f"翻译{english}。")), f"是{chinese}。"
