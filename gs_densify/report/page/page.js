"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  /** Returns an element with attributes and children; texts stay texts. */
  function make(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  }

  // Theme: as the system has it, until the button says otherwise.

  const root = document.documentElement;
  const themeButton = document.getElementById("theme");
  const systemDark = matchMedia("(prefers-color-scheme: dark)");

  function remembered(value) {
    try { // a page from a file may have no storage
      if (value === undefined) return localStorage.getItem("gs-report-theme");
      localStorage.setItem("gs-report-theme", value);
    } catch { /* then it lasts until the page is closed */ }
    return null;
  }

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches;
  }

  function showTheme() {
    themeButton.textContent = isDark() ? "Light" : "Dark";
    themeButton.setAttribute("aria-label", `Change to ${isDark() ? "light" : "dark"} colours`);
  }

  const saved = remembered();
  if (saved === "dark" || saved === "light") root.dataset.theme = saved;
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    showTheme();
  });
  systemDark.addEventListener("change", showTheme);
  showTheme();

  // Tables: a click on a heading sorts, another one reverses.

  function compare(a, b) {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
  }

  /** Sorts the rows by a column; what has no value stays at the end. */
  function sortBy(table, column, direction) {
    const headings = table.tHead.rows[0].cells;
    [...headings].forEach((heading, i) => {
      if (i === column) heading.setAttribute("aria-sort", direction);
      else heading.removeAttribute("aria-sort");
    });
    const sign = direction === "ascending" ? 1 : -1;
    const value = (row) => row.cells[column].dataset.value ?? "";
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return x === "" || y === "" ? (x === "") - (y === "") : sign * compare(x, y);
    });
    table.tBodies[0].append(...rows);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("table.sortable thead button");
    if (!button) return;
    const heading = button.closest("th");
    const current = heading.getAttribute("aria-sort");
    const reversed = current === "ascending" ? "descending" : "ascending";
    sortBy(button.closest("table"), heading.cellIndex, current ? reversed : button.dataset.first);
  });

  document.getElementById("intervals")?.addEventListener("change", (event) => {
    document.body.classList.toggle("with-intervals", event.target.checked);
  });

  // Held-out views.

  function mark(label) {
    const look = data.looks[data.methods.indexOf(label)];
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    for (const [key, value] of [["class", "mark"], ["viewBox", "0 0 12 12"], ["width", 12], ["height", 12], ["aria-hidden", true]]) {
      svg.setAttribute(key, value);
    }
    const path = document.createElementNS(space, "path");
    path.setAttribute("d", look.path);
    path.setAttribute("fill", look.color);
    svg.append(path);
    return svg;
  }

  class Scores {
    /** The table of views and methods, for one metric at a time. */
    constructor(article, scene, choose) {
      this.scene = scene;
      this.choose = choose;
      this.current = null;
      this.table = article.querySelector(".per-view");
      this.select = article.querySelector(".metric");
      scene.metrics.forEach((metric, i) => {
        const text = metric.unit ? `${metric.label} (${metric.unit})` : metric.label;
        this.select.append(make("option", { value: i }, text));
      });
      this.select.addEventListener("change", () => this.show());
    }

    get metric() { return Number(this.select.value) || 0; }

    text(view, method) {
      const metric = this.scene.metrics[this.metric];
      const value = metric && view.scores[this.metric][method];
      return value ? `${value[1]}${metric.unit ? ` ${metric.unit}` : ""}` : "";
    }

    show() {
      const metric = this.scene.metrics[this.metric];
      const before = [...(this.table.tHead.rows[0]?.cells ?? [])].findIndex((cell) => cell.hasAttribute("aria-sort"));
      const first = metric?.higherIsBetter ? "ascending" : "descending"; // the worst first
      const heading = (text, order, ...more) => make("th", { scope: "col", class: more.length ? "number" : null },
        make("button", { type: "button", "data-first": order }, ...more, text));
      this.table.tHead.replaceChildren(make("tr", {},
        heading("View", "ascending"),
        ...this.scene.methods.map((label) => heading(`\u00a0${label}`, first, mark(label)))));
      this.table.tBodies[0].replaceChildren(...this.scene.views.map((view, i) => this.row(view, i)));
      const column = before >= 0 ? before : 1 + Math.max(0, this.scene.methods.indexOf(this.scene.baseline));
      sortBy(this.table, column, column ? first : "ascending");
      this.highlight(this.current);
    }

    row(view, index) {
      const metric = this.scene.metrics[this.metric];
      const values = metric ? view.scores[this.metric] : this.scene.methods.map(() => null);
      const known = values.filter(Boolean).map(([value]) => value);
      const best = known.length > 1 ? (metric.higherIsBetter ? Math.max(...known) : Math.min(...known)) : null;
      const button = () => {
        const element = make("button", { type: "button" }, view.name);
        element.addEventListener("click", () => this.choose(index));
        return element;
      };
      return make("tr", { "data-view": index },
        make("th", { scope: "row", "data-value": view.name, class: view.pictures ? null : "no-picture" },
          view.pictures ? button() : view.name),
        ...values.map((value) => make("td", {
          class: value && value[0] === best ? "number best" : "number",
          "data-value": value ? value[0] : "",
        }, value ? value[1] : "–")));
    }

    highlight(index) {
      this.current = index;
      for (const row of this.table.tBodies[0].rows) {
        if (Number(row.dataset.view) === index) row.setAttribute("aria-current", "true");
        else row.removeAttribute("aria-current");
      }
      this.reveal(this.table.querySelector("[aria-current]"));
    }

    /** Scrolls the table, and not the page, to a row. */
    reveal(row) {
      const frame = this.table.parentElement;
      if (!row || !frame) return;
      const top = row.offsetTop - this.table.tHead.offsetHeight;
      if (top < frame.scrollTop) frame.scrollTop = top;
      const bottom = row.offsetTop + row.offsetHeight;
      if (bottom > frame.scrollTop + frame.clientHeight) frame.scrollTop = bottom - frame.clientHeight;
    }

    /** The views that have pictures, in the order of the table. */
    pictured() {
      return [...this.table.tBodies[0].rows].map((row) => Number(row.dataset.view)).filter((i) => this.scene.views[i].pictures);
    }
  }

  class Viewer {
    /** Two pictures of a view, one over the other as far as the slider says. */
    constructor(article, scene, scores) {
      this.scene = scene;
      this.scores = scores;
      const find = (name) => article.querySelector(name);
      this.wipe = find(".wipe");
      this.range = find(".wipe input");
      this.caption = find(".which");
      this.errors = find(".errors");
      this.sides = [
        { select: find(".left"), image: find(".over"), tag: find(".tag-left") },
        { select: find(".right"), image: find(".under"), tag: find(".tag-right") },
      ];
      for (const { select } of this.sides) {
        select.append(make("option", { value: "photo" }, "photo"));
        scene.methods.forEach((label, i) => select.append(make("option", { value: i }, label)));
        select.addEventListener("change", () => this.show());
      }
      this.errors.addEventListener("change", () => this.show());
      this.range.addEventListener("input", () => this.place(Number(this.range.value)));
      this.range.addEventListener("keydown", (event) => this.onKey(event));
      this.steps = [[find(".previous"), -1], [find(".next"), 1]];
      for (const [button, by] of this.steps) button.addEventListener("click", () => this.step(by));
      const order = scores.pictured();
      const seen = (i) => scene.views[i].pictures.renders.filter(Boolean).length;
      this.index = order.find((i) => seen(i) === Math.max(...order.map(seen)));
      const methods = this.withPictures();
      this.sides[0].select.value = "photo";
      this.sides[1].select.value = methods[0];
      this.place(50);
      this.show();
    }

    withPictures() {
      const { renders } = this.scene.views[this.index].pictures;
      return this.scene.methods.map((_, i) => i).filter((i) => renders[i]);
    }

    place(percent) {
      const at = Math.min(100, Math.max(0, percent));
      this.range.value = at;
      this.wipe.style.setProperty("--at", `${at}%`);
      const [left, right] = this.sides.map(({ select }) => select.selectedOptions[0]?.textContent);
      this.range.setAttribute("aria-valuetext", `${Math.round(at)} % ${left}, the rest ${right}`);
    }

    onKey(event) {
      const by = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      this.place(Number(this.range.value) + by * (event.shiftKey ? 5 : 1));
    }

    step(by) {
      const order = this.scores.pictured();
      this.choose(order[order.indexOf(this.index) + by]);
    }

    choose(index) {
      if (index === undefined) return;
      this.index = index;
      this.show();
    }

    show() {
      const view = this.scene.views[this.index];
      const { width, height, photo, renders, errors } = view.pictures;
      this.wipe.style.aspectRatio = `${width} / ${height}`;
      this.wipe.style.maxWidth = `calc(80vh * ${width / height})`;
      this.wipe.classList.toggle("small", Math.max(width, height) < 320);
      for (const { select, image, tag } of this.sides) {
        for (const option of select.options) {
          option.disabled = option.value !== "photo" && !renders[Number(option.value)];
        }
        if (select.selectedOptions[0]?.disabled) select.value = "photo";
        const method = select.value === "photo" ? null : Number(select.value);
        const name = method === null ? "photo" : this.scene.methods[method];
        const shown = method === null ? photo : (this.errors.checked ? errors : renders)[method];
        if (image.getAttribute("src") !== shown) image.src = shown;
        const score = method === null ? "" : this.scores.text(view, method);
        const kind = method !== null && this.errors.checked ? "error of " : "";
        tag.replaceChildren(make("span", {}, `${kind}${name}`), ...(score ? [make("span", {}, score)] : []));
        image.alt = `${kind}${name}, ${view.name}`;
      }
      const order = this.scores.pictured();
      const place = order.indexOf(this.index);
      this.caption.textContent = `${view.name}, ${place + 1} of ${order.length}`;
      for (const [button, by] of this.steps) button.disabled = order[place + by] === undefined;
      this.scores.highlight(this.index);
      this.place(Number(this.range.value));
    }
  }

  for (const article of document.querySelectorAll(".scene")) {
    const scene = data.scenes[Number(article.dataset.scene)];
    if (!article.querySelector(".per-view")) continue;
    let viewer = null;
    const scores = new Scores(article, scene, (index) => viewer?.choose(index));
    scores.show();
    if (!article.querySelector(".wipe")) continue;
    viewer = new Viewer(article, scene, scores);
    const refresh = () => viewer.show(); // the order of the views, or the metric, may have changed
    scores.select.addEventListener("change", refresh);
    scores.table.tHead.addEventListener("click", () => setTimeout(refresh));
  }
})();
