// Tests of a program in JavaScript: node --test warehouse.test.mjs. One stack, and a clean one for each test.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, beforeEach, test } from "node:test";

const stack = process.env.HAILBOX_STACK ?? `node-${process.pid}`;
let env, resetter, answers;

// What a command returns; an error carries the code, the problem and what to do.
function hailbox(...words) {
  let output;
  try {
    output = execFileSync("hailbox", ["--stack", stack, ...words, "--json"], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  } catch (error) {
    output = error.stdout;
  }
  return checked(JSON.parse(output));
}

function checked(document) {
  const [error] = document.errors;
  if (error) throw new Error(`${error.problem} -> ${error.remedy} [${error.code}]`);
  return document.data;
}

before(() => {
  hailbox("up", "--profile", "fs");
  env = hailbox("env");
  // It stays, and resets once for each line: no test waits for a program to start.
  resetter = spawn("hailbox", ["--stack", stack, "reset", "--repeat", "--quiet"], { stdio: ["pipe", "pipe", "inherit"] });
  answers = createInterface({ input: resetter.stdout })[Symbol.asyncIterator]();
});

beforeEach(async () => {
  resetter.stdin.write("\n");
  checked(JSON.parse((await answers.next()).value));
});

after(() => {
  resetter?.stdin.end();
  hailbox("destroy");
});

test("a body comes back", async () => {
  await fetch(`${env.IWHD_URL}/images`, { method: "PUT" });
  const stored = await fetch(`${env.IWHD_URL}/images/one`, { method: "PUT", body: "body" });
  assert.equal(stored.status, 201);
  assert.equal(await (await fetch(`${env.IWHD_URL}/images/one`)).text(), "body");
});

test("a new warehouse has no images", async () => {
  assert.equal((await fetch(`${env.IWHD_URL}/images`)).status, 404);
});
