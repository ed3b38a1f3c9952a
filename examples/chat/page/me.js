// Who I am: the name is the browser's, the key is the tab's, so that two tabs are two people.

import { $, pick, randomName, remember } from "./dom.js";

const CALM = "Amber Brisk Calm Clever Dusky Early Gentle Hazel Kind Lively Mellow Quiet Sunny Tidy Witty".split(" ");
const WILD = "Badger Crane Finch Hare Heron Lynx Marten Newt Otter Plover Robin Stoat Swift Vole Wren".split(" ");

export const friendly = () => `${pick(CALM)} ${pick(WILD)}`;

const key = remember("tab", "key") ?? randomName(24);
remember("tab", "key", key);

export const me = { id: "", key, name: remember("tab", "name") ?? remember("browser", "name") ?? friendly() };

/** Take a name. Only one that was chosen is remembered beyond this tab, so that two fresh tabs get two names. */
export function rename(name, chosen = false) {
  me.name = name.trim().replace(/\s+/g, " ") || friendly();
  $("name").value = me.name;
  remember("tab", "name", me.name);
  if (chosen) remember("browser", "name", me.name);
}
