// Cells in 3D: turned by mouse, finger or arrow keys, moved through time by the slider.
(() => {
  "use strict";
  const canvas = document.getElementById("cells");
  if (!canvas) return;
  const data = JSON.parse(document.getElementById("cells-data").textContent);
  const slider = document.getElementById("cells-time");
  const told = document.getElementById("cells-told");
  const button = document.getElementById("cells-play");
  const choice = document.getElementById("cells-sequence");
  const bar = document.getElementById("cells-bar");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const gl = canvas.getContext("webgl", { antialias: true, alpha: true, preserveDrawingBuffer: true });
  if (!gl) {
    document.getElementById("cells-without").hidden = false;
    for (const part of document.querySelectorAll(".cells-with")) part.hidden = true;
    return;
  }

  const VERTEX = `
    attribute vec3 position; attribute vec3 normal;
    uniform mat3 turn; uniform vec3 middle; uniform vec3 scale;
    varying vec3 facing; varying float depth;
    void main() {
      vec3 at = turn * (position - middle);
      facing = turn * normal;
      depth = at.z * scale.z;
      gl_Position = vec4(at.xy * scale.xy, -at.z * scale.z, 1.0);
    }`;
  const FRAGMENT = `
    precision mediump float;
    uniform vec3 colour; uniform vec3 shade;
    varying vec3 facing; varying float depth;
    void main() {
      vec3 n = normalize(facing);
      float lamp = max(dot(n, normalize(vec3(-0.30, 0.50, 0.80))), 0.0);
      float fill = 0.5 + 0.5 * n.y;
      float gleam = pow(max(dot(n, normalize(vec3(-0.16, 0.27, 1.0))), 0.0), 36.0);
      float rim = pow(1.0 - max(n.z, 0.0), 3.0);
      vec3 lit = colour * (0.34 + 0.24 * fill + 0.58 * lamp) + vec3(0.16) * gleam;
      lit = mix(lit, shade, 0.30 * rim);
      lit *= 0.90 + 0.16 * clamp(depth * 2.0, -1.0, 1.0);
      gl_FragColor = vec4(lit, 1.0);
    }`;
  function compiled(kind, text) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    return shader;
  }
  const program = gl.createProgram();
  gl.attachShader(program, compiled(gl.VERTEX_SHADER, VERTEX));
  gl.attachShader(program, compiled(gl.FRAGMENT_SHADER, FRAGMENT));
  gl.linkProgram(program);
  gl.useProgram(program);
  const at = (name) => gl.getUniformLocation(program, name);
  const uniforms = { turn: at("turn"), middle: at("middle"), scale: at("scale"), colour: at("colour"), shade: at("shade") };
  const position = gl.getAttribLocation(program, "position");
  const normal = gl.getAttribLocation(program, "normal");
  gl.enableVertexAttribArray(position);
  gl.enableVertexAttribArray(normal);
  gl.enable(gl.DEPTH_TEST);

  function numbers(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Uint16Array(bytes.buffer);
  }
  // y and z are turned over: images have y downwards, and are looked at from their first slice.
  const OVER = [1, -1, -1];
  function built(sequence, cell) {
    const packed = numbers(cell.verts), faces = numbers(cell.faces);
    const verts = new Float32Array(packed.length), normals = new Float32Array(packed.length);
    for (let i = 0; i < packed.length; i++) {
      const axis = i % 3;
      verts[i] = OVER[axis] * (sequence.low[axis] + sequence.side[axis] * packed[i] / 65535);
    }
    for (let f = 0; f < faces.length; f += 3) {
      const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
      const ux = verts[b] - verts[a], uy = verts[b + 1] - verts[a + 1], uz = verts[b + 2] - verts[a + 2];
      const vx = verts[c] - verts[a], vy = verts[c + 1] - verts[a + 1], vz = verts[c + 2] - verts[a + 2];
      const n = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
      for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) normals[corner + k] += n[k];
    }
    const made = { colour: data.colours[(cell.label - 1) % data.colours.length], count: faces.length };
    for (const [name, kind, content] of [["verts", gl.ARRAY_BUFFER, verts], ["normals", gl.ARRAY_BUFFER, normals], ["faces", gl.ELEMENT_ARRAY_BUFFER, faces]]) {
      made[name] = gl.createBuffer();
      gl.bindBuffer(kind, made[name]);
      gl.bufferData(kind, content, gl.STATIC_DRAW);
    }
    return made;
  }
  function meshes(sequence, frame) {
    sequence.built ??= [];
    return (sequence.built[frame] ??= sequence.frames[frame].map((cell) => built(sequence, cell)));
  }

  const view = { sequence: 0, frame: 0, yaw: -0.45, pitch: 0.3, zoom: 1 };
  let playing = false, turning = false, seen = true, before = 0, waiting = false;

  function drawn() {
    waiting = false;
    const sequence = data.sequences[view.sequence];
    const dense = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(canvas.clientWidth * dense), height = Math.round(canvas.clientHeight * dense);
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const radius = sequence.reach;
    const fit = 0.92 * view.zoom / radius * Math.min(1, width / height);
    const [cy, sy, cp, sp] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix3fv(uniforms.turn, false, [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]);
    gl.uniform3fv(uniforms.middle, sequence.low.map((low, axis) => OVER[axis] * (low + sequence.side[axis] / 2)));
    gl.uniform3f(uniforms.scale, fit * height / width, fit, 0.45 / radius);
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    gl.uniform3fv(uniforms.shade, dark ? [0.05, 0.08, 0.11] : [0.93, 0.96, 0.98]);
    for (const mesh of meshes(sequence, view.frame)) {
      gl.uniform3fv(uniforms.colour, mesh.colour.map((part) => part / 255));
      gl.bindBuffer(gl.ARRAY_BUFFER, mesh.verts);
      gl.vertexAttribPointer(position, 3, gl.FLOAT, false, 0, 0);
      gl.bindBuffer(gl.ARRAY_BUFFER, mesh.normals);
      gl.vertexAttribPointer(normal, 3, gl.FLOAT, false, 0, 0);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, mesh.faces);
      gl.drawElements(gl.TRIANGLES, mesh.count, gl.UNSIGNED_SHORT, 0);
    }
    // A scale bar of a round length, at most a fifth as long as the stage.
    const perUnit = fit * canvas.clientHeight / 2, most = canvas.clientWidth / 5 / perUnit;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].map((step) => step * power).find((step) => step <= most) ?? power;
    bar.lastElementChild.style.width = `${length * perUnit}px`;
    bar.firstElementChild.textContent = `${Number(length.toPrecision(3))} ${data.unit}`;
    canvas.dataset.frame = view.frame;
    canvas.dataset.sequence = view.sequence;
    canvas.dataset.yaw = view.yaw.toFixed(3);
    canvas.dataset.pitch = view.pitch.toFixed(3);
    canvas.dataset.zoom = view.zoom.toFixed(3);
  }
  function draw() {
    if (!waiting) { waiting = true; requestAnimationFrame(drawn); }
  }
  function show(frame) {
    view.frame = frame;
    const text = data.sequences[view.sequence].told[frame];
    slider.value = String(frame);
    slider.setAttribute("aria-valuetext", text);
    told.textContent = text;
    draw();
  }
  function pick(index) {
    view.sequence = index;
    slider.max = String(data.sequences[index].frames.length - 1);
    show(Math.min(view.frame, Number(slider.max)));
  }
  function play(on) {
    const was = playing;
    playing = on && Number(slider.max) > 0;
    button.textContent = playing ? "Pause" : "Play";
    button.setAttribute("aria-label", playing ? "Pause the cells" : "Play the cells");
    if (!playing) turning = false;
    if (playing && !was) requestAnimationFrame(tick);
  }
  function tick(now) {
    if (!playing) return;
    if (seen) {
      if (turning) { view.yaw += 0.004; draw(); }
      if (now - before > 140) {
        before = now;
        show(view.frame >= Number(slider.max) ? 0 : view.frame + 1);
      }
    }
    requestAnimationFrame(tick);
  }
  function turn(yaw, pitch) {
    turning = false;
    view.yaw += yaw;
    view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + pitch));
    draw();
  }
  function zoom(factor) {
    view.zoom = Math.max(0.5, Math.min(8, view.zoom * factor));
    draw();
  }

  const fingers = new Map();
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  });
  canvas.addEventListener("pointermove", (event) => {
    const from = fingers.get(event.pointerId);
    if (!from) return;
    const to = [event.clientX, event.clientY];
    const other = [...fingers.entries()].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const apart = (p) => Math.max(Math.hypot(p[0] - other[0], p[1] - other[1]), 1);
      zoom(apart(to) / apart(from));
    } else {
      turn(0.009 * (to[0] - from[0]), 0.009 * (to[1] - from[1]));
    }
    fingers.set(event.pointerId, to);
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  // A page must scroll: the wheel zooms only with Ctrl, as pinching on a touchpad reports it.
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(-0.01 * event.deltaY));
  }, { passive: false });
  const KEYS = {
    ArrowLeft: () => turn(-0.12, 0), ArrowRight: () => turn(0.12, 0),
    ArrowUp: () => turn(0, -0.12), ArrowDown: () => turn(0, 0.12),
    "+": () => zoom(1.15), "=": () => zoom(1.15), "-": () => zoom(1 / 1.15),
    " ": () => play(!playing),
    ",": () => { play(false); show(Math.max(0, view.frame - 1)); },
    ".": () => { play(false); show(Math.min(Number(slider.max), view.frame + 1)); },
    Home: () => { Object.assign(view, { yaw: 0, pitch: 0, zoom: 1 }); turn(0, 0); },
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !(event.key in KEYS)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  slider.addEventListener("input", () => { play(false); show(Number(slider.value)); });
  button.addEventListener("click", () => play(!playing));
  choice?.addEventListener("change", () => pick(Number(choice.value)));
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => location.reload());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  new ResizeObserver(draw).observe(canvas);
  new IntersectionObserver((entries) => { seen = entries.some((e) => e.isIntersecting); }).observe(canvas);
  // Paper shows the cells as they stand.
  addEventListener("beforeprint", () => {
    drawn();
    const paper = document.getElementById("cells-paper");
    paper.src = canvas.toDataURL("image/png");
    paper.alt = `${canvas.getAttribute("aria-label").split(".")[0]}, ${told.textContent}`;
  });
  pick(0);
  turning = !calm;
  play(!calm);
})();
