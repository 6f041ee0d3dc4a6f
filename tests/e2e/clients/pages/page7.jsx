import { useChat } from "@ai-sdk/react7";
import { DefaultChatTransport } from "ai7";
import { chatWith, counting, lastMessageOnly } from "./chat.jsx";
import { settings, show } from "./common.jsx";

show(
  settings.replay === "false"
    ? chatWith(useChat, counting(DefaultChatTransport), { ...lastMessageOnly, resumeStreamIsReplay: false })
    : chatWith(useChat, DefaultChatTransport, lastMessageOnly),
);
