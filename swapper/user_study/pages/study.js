"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SIDES = ["left", "right"];
  const PLACES = ["performer", ...SIDES];
  const APART = 0.08; // largest drift between clips in seconds
  const PAUSE = 700; // milliseconds before replay
  const find = (id) => document.getElementById(id);
  const videos = Object.fromEntries(PLACES.map((place) => [place, find(place)]));
  const shelf = `swapper-study-${data.study}`;

  // --- schedule: must equal user_study/schedule.py, number for number --------------------------

  function below(seed) {
    let state = seed >>> 0;
    return (many) => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) * many) / 4294967296);
    };
  }

  function shuffled(items, draw) {
    const result = items.slice();
    for (let last = result.length - 1; last > 0; last--) {
      const other = draw(last + 1);
      [result[last], result[other]] = [result[other], result[last]];
    }
    return result;
  }

  function schedule(seed) {
    const draw = below(seed);
    const chosen = shuffled(data.pairs, draw).slice(0, data.limits.pairs);
    const caught = shuffled(data.checks, draw).slice(0, data.limits.checks);
    const compared = new Set(chosen);
    const asked = shuffled([...chosen, ...caught], draw).map((trial) => ({
      trial, swapped: draw(2) === 1,
    }));
    const half = Math.floor(asked.length / 2);
    const again = asked.slice(0, half).filter((each) => compared.has(each.trial));
    for (const each of again.slice(0, data.limits.repeats)) {
      const at = half + 1 + draw(asked.length - half);
      asked.splice(at, 0, { trial: each.trial, swapped: !each.swapped });
    }
    return asked;
  }

  // --- storage ---------------------------------------------------------------------------------

  function newcomer() {
    const numbers = crypto.getRandomValues(new Uint32Array(3));
    const hex = (number) => number.toString(16).padStart(8, "0");
    return {
      participant: hex(numbers[0]) + hex(numbers[1]), seed: numbers[2], answers: [], begun: false,
    };
  }

  function remembered() {
    try {
      const found = JSON.parse(localStorage.getItem(shelf));
      if (/^[0-9a-f]{16}$/.test(found.participant) && Number.isInteger(found.seed)
          && Array.isArray(found.answers)) return found;
    } catch {
      // Nothing stored, or no storage in this browser: start a new participant.
    }
    return newcomer();
  }

  function remember() {
    try {
      localStorage.setItem(shelf, JSON.stringify(person));
      find("kept").textContent = person.answers.length ? "Saved in this browser" : "";
    } catch {
      find("kept").textContent = "Do not reload: this browser does not save answers";
    }
  }

  let person = remembered();
  let asked = schedule(person.seed);

  // --- playback --------------------------------------------------------------------------------

  let seen = new Set();
  let ended = new Set();
  let waiting = 0;
  let since = null;

  function load() {
    const { trial, swapped } = asked[person.answers.length];
    const [, performer, first, second] = trial;
    const names = swapped ? [performer, second, first] : [performer, first, second];
    seen = new Set();
    since = null;
    find("trouble").hidden = true;
    PLACES.forEach((place, i) => {
      videos[place].src = `clips/${names[i]}${data.kind}`;
    });
    ready();
    play();
  }

  function play() {
    clearTimeout(waiting);
    ended = new Set();
    for (const place of PLACES) {
      videos[place].pause();
      if (videos[place].readyState > 0) videos[place].currentTime = 0;
    }
    start();
  }

  function start() {
    // Start all clips together, once all are ready.
    if (PLACES.some((place) => videos[place].readyState < 3)) return;
    if (find("trial").hidden || ended.size) return;
    since ??= performance.now();
    for (const place of PLACES) videos[place].play().catch(() => {});
  }

  function finish(place) {
    seen.add(place);
    ended.add(place);
    ready();
    if (ended.size === PLACES.length) waiting = setTimeout(play, PAUSE);
  }

  function keepInStep() {
    const lead = videos.performer;
    if (lead.paused || lead.ended) return;
    for (const side of SIDES) {
      const video = videos[side];
      if (!video.ended && Math.abs(video.currentTime - lead.currentTime) > APART) {
        video.currentTime = lead.currentTime;
      }
    }
  }

  for (const place of PLACES) {
    videos[place].addEventListener("canplay", start);
    videos[place].addEventListener("ended", () => finish(place));
    videos[place].addEventListener("error", () => { find("trouble").hidden = false; });
  }
  videos.performer.addEventListener("timeupdate", keepInStep);

  // --- questions -------------------------------------------------------------------------------

  const answerable = () => !find("trial").hidden && seen.size === PLACES.length;

  function ready() {
    for (const choice of [...SIDES, "neither"]) find(`choose-${choice}`).disabled = !answerable();
    find("hint").textContent = answerable()
      ? "The clips replay until you choose." : "Watch all clips once, then choose.";
  }

  function choose(choice) {
    if (!answerable()) return;
    const { trial, swapped } = asked[person.answers.length];
    const [left, right] = swapped ? [trial[3], trial[2]] : [trial[2], trial[3]];
    const seconds = Math.round(performance.now() - since) / 1000;
    person.answers.push({ trial: trial[0], left, right, choice, seconds });
    show();
  }

  function show() {
    remember();
    const number = person.answers.length;
    const over = number >= asked.length;
    find("intro").hidden = person.begun;
    find("trial").hidden = !person.begun || over;
    find("done").hidden = !over;
    find("top").hidden = !person.begun;
    find("many").textContent = asked.length;
    find("count").textContent = over ? "All answered" : `Question ${number + 1} of ${asked.length}`;
    find("progress").max = asked.length;
    find("progress").value = number;
    if (over) offer();
    else if (person.begun) load();
    if (over) PLACES.forEach((place) => videos[place].pause());
    find("main").focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }

  function offer() {
    const { participant, seed, answers } = person;
    const text = JSON.stringify(
      { schema: data.schema, study: data.study, participant, seed, answers }, null, 1);
    const link = find("save");
    if (link.href.startsWith("blob:")) URL.revokeObjectURL(link.href);
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `answers-${participant}.json`;
    find("file").textContent = link.download;
  }

  find("start").addEventListener("click", () => {
    person.begun = true;
    show();
  });
  find("again").addEventListener("click", play);
  for (const choice of [...SIDES, "neither"]) {
    find(`choose-${choice}`).addEventListener("click", () => choose(choice));
  }
  find("next").addEventListener("click", () => {
    if (!confirm("Did you save the answers? They will be deleted here.")) return;
    person = newcomer();
    asked = schedule(person.seed);
    show();
  });
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || find("trial").hidden) {
      return;
    }
    const choice = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "neither" }[event.key];
    const pressing = event.target.closest("button, a");
    if (choice && answerable()) choose(choice);
    else if (event.key === " " && !pressing) play();
    else return;
    event.preventDefault();
  });
  show();
})();
