"""Chinese sentences of the generated corpus, by the same rules as the Indonesian ones; topics have the same names."""

from __future__ import annotations

from omnimer_ray.corpora.generated.sentences import Filler, Language

CUES = {
    "neutral": ("记录", "讨论", "选择", "阅读", "解释", "准备", "检查", "整理", "测量", "展示"),
    "happiness": ("喜欢", "满意", "开心聊起", "高兴看到", "感谢", "骄傲地介绍", "幸福地想着", "享受"),
    "surprise": ("没想到", "惊讶于", "吃惊地看到", "竟然遇到", "震惊于", "惊叹于", "意外发现", "想不到"),
    "sadness": ("难过地想起", "失望地看着", "哭着说起", "失去了", "伤心地谈起", "遗憾地错过", "心碎于", "悲伤地离开"),
    "anger": ("生气地说起", "讨厌", "愤怒地批评", "恼火于", "怒骂", "恨", "气愤地扔掉", "烦透了"),
    "disgust": ("恶心于", "反感", "嫌弃", "厌恶", "受不了", "看不惯", "作呕于", "腻烦"),
    "fear": ("害怕", "担心", "恐惧地看着", "紧张地等着", "慌张地躲开", "不敢碰", "发抖地看着", "惊恐地听到"),
}

NOUNS = {
    "Cooking": ("菜谱", "辣酱", "炒饭", "烤箱"),
    "Tutorials": ("软件", "步骤", "电线", "题目"),
    "Product": ("手机", "背包", "鞋子", "相机"),
    "Celebrity": ("演唱会", "明星", "采访", "歌曲"),
    "Family": ("弟弟", "房子", "晚饭", "全家福"),
    "Makeup": ("口红", "粉底", "睫毛膏", "镜子"),
    "Sharing": ("故事", "旅行", "信件", "消息"),
    "Blogger": ("宿舍", "日程", "市场", "酒店"),
    "Opinion": ("新闻", "规定", "评论", "建议"),
    "Health": ("药片", "医生", "化验单", "诊所"),
    "Politics": ("辩论", "选举", "会议", "演讲"),
    "Book": ("小说", "书本", "人物", "最后一章"),
    "Society": ("邻居", "洪水", "马路", "队伍"),
}

CHINESE = Language(
    "cmn",
    CUES,
    NOUNS,
    {
        "mini": Filler(
            ("", "现在", "刚才", "今天"),
            ("我", "我们", "咱们"),
            ("这里", "那边", "昨天的", "身边的"),
            ("{opener}{subject}{cue}{closer}{noun}", "{opener}{subject}又{cue}{closer}{noun}"),
        ),
        "pretraining": Filler(
            ("", "后来", "上周", "这次"),
            ("他", "她", "他们"),
            ("新的", "旧的", "早上的", "那个"),
            ("{subject}{cue}{closer}{noun}", "{opener}{subject}确实{cue}{noun}"),
        ),
    },
    "。",
)
