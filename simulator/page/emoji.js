// The emoji that people and apps use most, by Slack's short names. Unknown names stay as they were typed.

const TABLE = `
+1 👍 -1 👎 thumbsup 👍 thumbsdown 👎 white_check_mark ✅ heavy_check_mark ✔️ ballot_box_with_check ☑️ x ❌
negative_squared_cross_mark ❎ no_entry ⛔ no_entry_sign 🚫 warning ⚠️ rotating_light 🚨 octagonal_sign 🛑 stop_sign 🛑
hourglass ⌛ hourglass_flowing_sand ⏳ alarm_clock ⏰ stopwatch ⏱️ timer_clock ⏲️ clock1 🕐 calendar 📆 date 📅
large_green_circle 🟢 large_yellow_circle 🟡 large_orange_circle 🟠 red_circle 🔴 large_blue_circle 🔵 white_circle ⚪
black_circle ⚫ large_green_square 🟩 large_yellow_square 🟨 large_red_square 🟥 white_large_square ⬜ black_large_square ⬛
large_purple_circle 🟣 large_brown_circle 🟤 key 🔑 old_key 🗝️ closed_lock_with_key 🔐 lock 🔒 unlock 🔓 shield 🛡️
robot_face 🤖 robot 🤖 eyes 👀 raised_hand ✋ hand ✋ raised_hands 🙌 wave 👋 clap 👏 pray 🙏 muscle 💪 point_right 👉
point_left 👈 point_up ☝️ point_down 👇 ok_hand 👌 handshake 🤝 writing_hand ✍️ smile 😄 smiley 😃 grinning 😀
slightly_smiling_face 🙂 wink 😉 joy 😂 sweat_smile 😅 thinking_face 🤔 neutral_face 😐 confused 😕 cry 😢 sob 😭
tada 🎉 sparkles ✨ star ⭐ star2 🌟 fire 🔥 rocket 🚀 zap ⚡ boom 💥 bulb 💡 heart ❤️ blue_heart 💙 green_heart 💚
100 💯 question ❓ grey_question ❔ exclamation ❗ grey_exclamation ❕ information_source ℹ️ bell 🔔 no_bell 🔕 loudspeaker 📢
mega 📣 speech_balloon 💬 thought_balloon 💭 memo 📝 pencil 📝 pencil2 ✏️ clipboard 📋 page_facing_up 📄 file_folder 📁
open_file_folder 📂 card_index_dividers 🗂️ books 📚 book 📖 bar_chart 📊 chart_with_upwards_trend 📈
chart_with_downwards_trend 📉 mag 🔍 mag_right 🔎 link 🔗 paperclip 📎 pushpin 📌 scissors ✂️ wastebasket 🗑️ package 📦
inbox_tray 📥 outbox_tray 📤 email 📧 envelope ✉️ computer 💻 desktop_computer 🖥️ keyboard ⌨️ floppy_disk 💾 file_cabinet 🗄️
hammer 🔨 wrench 🔧 hammer_and_wrench 🛠️ gear ⚙️ nut_and_bolt 🔩 test_tube 🧪 microscope 🔬 bug 🐛 construction 🚧
money_with_wings 💸 moneybag 💰 dollar 💵 credit_card 💳 coin 🪙 globe_with_meridians 🌐 earth_africa 🌍 house 🏠 coffee ☕
arrow_right ➡️ arrow_left ⬅️ arrow_up ⬆️ arrow_down ⬇️ arrow_forward ▶️ fast_forward ⏩ double_vertical_bar ⏸️ black_square_for_stop ⏹️
arrows_counterclockwise 🔄 repeat 🔁 leftwards_arrow_with_hook ↩️ arrow_right_hook ↪️ back 🔙 heavy_plus_sign ➕ heavy_minus_sign ➖ recycle ♻️
one 1️⃣ two 2️⃣ three 3️⃣ four 4️⃣ five 5️⃣ checkered_flag 🏁 triangular_flag_on_post 🚩 bust_in_silhouette 👤
busts_in_silhouette 👥 technologist 🧑‍💻 detective 🕵️ scroll 📜 label 🏷️ receipt 🧾 balance_scale ⚖️ scales ⚖️ ghost 👻 see_no_evil 🙈`;

const EMOJI = new Map();
{
  const words = TABLE.trim().split(/\s+/);
  for (let i = 0; i + 1 < words.length; i += 2) EMOJI.set(words[i], words[i + 1]);
}

/** The character for a short name (without its colons), or null. */
export function emoji(name) {
  return EMOJI.get(name) ?? null;
}

/** Put characters in place of `:name:` in plain text. */
export function withEmoji(text) {
  return text.replace(/:([a-z0-9_+-]+):/g, (whole, name) => emoji(name) ?? whole);
}

/** The names that begin with what was typed, at most `limit`. */
export function emojiNames(prefix, limit = 6) {
  return [...EMOJI.keys()].filter((name) => name.startsWith(prefix)).slice(0, limit);
}
