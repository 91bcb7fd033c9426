"""What MkDocs is told by code: the navigation in both languages, and pages without inline scripts.

The node's content security policy allows no script but files of this node. The theme writes a few small ones
into every page; each becomes a file named by its digest.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

# Section -> pages by their path below docs/. A page that is not there is left out.
NAVIGATION: dict[str, dict[str, str]] = {
    "Start": {
        "Quick start": "quick-start.md",
        "Concepts": "concepts.md",
        "Console": "console.md",
        "Installation": "installation.md",
    },
    "Connect a device": {
        "Overview": "connect/index.md",
        "Python": "connect/python.md",
        "C and ESP32": "connect/c.md",
        "JavaScript": "connect/javascript.md",
        "Java": "connect/java.md",
        "Go": "connect/go.md",
        "Works with": "interoperability.md",
    },
    "Guides": {
        "Authentication and access": "access.md",
        "The cluster": "cluster.md",
        "Kafka for services": "kafka.md",
        "Configuration as code": "configuration-as-code.md",
        "Moving from mosquitto": "moving-from-mosquitto.md",
        "Moving from EMQX": "moving-from-emqx.md",
        "Moving from TBMQ": "moving-from-tbmq.md",
    },
    "Operations": {
        "Overview": "operations/index.md",
        "Sizing and kernel limits": "operations/sizing.md",
        "TLS and proxies": "operations/tls.md",
        "High availability": "operations/high-availability.md",
        "Upgrades": "operations/upgrades.md",
        "Backup": "backup.md",
        "Alerts": "operations/alerts.md",
        "Runbooks": "operations/runbooks.md",
    },
    "Reference": {
        "REST": "reference/rest.md",
        "Command line": "reference/command-line.md",
        "Configuration": "reference/configuration.md",
        "Metrics": "reference/metrics.md",
        "MQTT conformance": "reference/conformance.md",
    },
    "Background": {
        "Architecture": "architecture.md",
        "Reliability": "reliability.md",
        "Performance": "performance.md",
        "Security": "security.md",
        "Contributing": "CONTRIBUTING.md",
        "Reporting a weakness": "SECURITY.md",
        "Changelog": "CHANGELOG.md",
    },
}
CHINESE = {
    "Start": "入门",
    "Quick start": "快速开始",
    "Concepts": "基本概念",
    "Console": "控制台",
    "Installation": "安装",
    "Connect a device": "连接设备",
    "Overview": "概览",
    "C and ESP32": "C 与 ESP32",
    "Works with": "兼容的客户端",
    "Guides": "指南",
    "Authentication and access": "认证与访问控制",
    "The cluster": "集群",
    "Kafka for services": "面向后端服务的 Kafka",
    "Configuration as code": "配置即代码",
    "Moving from mosquitto": "从 mosquitto 迁移",
    "Moving from EMQX": "从 EMQX 迁移",
    "Moving from TBMQ": "从 TBMQ 迁移",
    "Operations": "运维",
    "Sizing and kernel limits": "容量与内核参数",
    "TLS and proxies": "TLS 与代理",
    "High availability": "高可用",
    "Upgrades": "升级",
    "Backup": "备份",
    "Alerts": "告警",
    "Runbooks": "故障处理手册",
    "Reference": "参考",
    "Command line": "命令行",
    "Configuration": "配置",
    "Metrics": "指标",
    "MQTT conformance": "MQTT 一致性",
    "Background": "背景",
    "Architecture": "架构",
    "Reliability": "可靠性",
    "Performance": "性能",
    "Security": "安全",
    "Contributing": "参与开发",
    "Reporting a weakness": "报告安全问题",
    "Changelog": "更新日志",
}
ENGLISH_ONLY = "（英文）"  # behind the title of a page that is not translated
INLINE = re.compile(r"<script(?P<attributes>(?:\s[^>]*)?)>(?P<body>.*?)</script>", re.DOTALL)


def translated(page: str) -> str:
    return page.removesuffix(".md") + ".zh.md"


def navigation(source: Path, language: str) -> list[dict[str, Any]]:
    """MkDocs' nav of the pages that are below `source`."""

    def title(text: str, page: str = "") -> str:
        if language == "en":
            return text
        english = bool(page) and not (source / translated(page)).exists()
        return CHINESE.get(text, text) + (ENGLISH_ONLY if english else "")

    made: list[dict[str, Any]] = [{"Home" if language == "en" else "首页": "index.md"}]
    for section, pages in NAVIGATION.items():
        there = [{title(text, page): page} for text, page in pages.items() if (source / page).exists()]
        made.append({title(section): there})
    return made


def on_config(config: Any) -> Any:
    source = Path(config.docs_dir)
    config.nav = navigation(source, "en")
    i18n = config.plugins["i18n"].config
    for language in i18n.languages:
        if language.locale == "zh":
            language.nav = navigation(source, "zh")
    return config


def on_post_page(output: str, page: Any, config: Any) -> str:
    """The home pages name each other from the server's root; the site is somewhere below it."""
    home = "../" * page.url.count("/") or "./"
    output = re.sub(
        r'(<(?:a|link)\b[^>]*\bhref=")/(zh/)?(?=")', lambda found: f"{found[1]}{home}{found[2] or ''}", output
    )
    return without_inline_scripts(output, page.url, Path(config.site_dir))


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    if not template_name.endswith(".html"):
        return output_content
    return without_inline_scripts(output_content, "", Path(config.site_dir))


def without_inline_scripts(html: str, url: str, site: Path) -> str:
    """The page with each inline script as a file below assets/inline; data (JSON) stays."""
    up = "../" * url.count("/")

    def moved(found: re.Match[str]) -> str:
        attributes, body = found["attributes"], found["body"]
        if "src=" in attributes or "application/json" in attributes or not body.strip():
            return found[0]
        name = hashlib.sha256(body.encode()).hexdigest()[:16] + ".js"
        target = site / "assets" / "inline" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(body)
        return f'<script{attributes} src="{up}assets/inline/{name}"></script>'

    return INLINE.sub(moved, html)
