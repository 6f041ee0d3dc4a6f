import { useChat } from "@ai-sdk/react6";
import { DefaultChatTransport } from "ai";
import { chatWith, counting, lastMessageOnly } from "./chat.jsx";
import { show } from "./common.jsx";

// The transport has a word for replays, but the hook does not hand it on. So this goes on from what is shown already.
show(chatWith(useChat, counting(DefaultChatTransport), { ...lastMessageOnly, resumeStreamIsReplay: false }));
