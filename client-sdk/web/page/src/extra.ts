/**
 * What is loaded when somebody asks for it: menus, editing, and the dialogs about members and new
 * conversations. It is a file of its own, so that a first use, which reads and writes, need not transfer it.
 * It shares nothing with the page but what it is given.
 */

export { MessageDeeds } from "./message_deeds.js";
export { MemoryOutbox } from "./memory_outbox.js";
export { MembersView } from "./view/members.js";
export { MentionBox } from "./view/mention_box.js";
export { openMenu } from "./view/menu.js";
export { NewView } from "./view/new.js";
