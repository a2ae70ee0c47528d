import { effect } from '@preact/signals-core';
import type { Question } from '../../client/index.ts';
import { loaded, onRenewal, openCount } from './inbox-store.ts';
import { registered } from './push.ts';
import { linkTo } from './route.ts';
import { settings } from './settings.ts';
import { count, cut, visible } from './text.ts';

/** Keeps the title, the icon and the badge at the number of open questions, and tells of new ones. */
export function watchQuestions(): void {
  const icon = document.querySelector<HTMLLinkElement>('link[rel=icon]');
  effect(() => {
    if (!loaded.value) return;
    const number = openCount.value;
    document.title = number > 0 ? `(${number}) Forumbus` : 'Forumbus';
    if (icon) icon.href = icon.href.replace(/icon(-new)?\.svg$/, number > 0 ? 'icon-new.svg' : 'icon.svg');
    void navigator.setAppBadge?.(number).catch(() => {});
  });
  onRenewal(renewals => {
    // Those that were asked while the connection was lost come together.
    const fresh = renewals.flatMap(({ question, isNew }) => (isNew && question.state === 'open' ? [question] : []));
    if (fresh.length > 0) tell(fresh);
  });
}

function tell(fresh: readonly Question[]): void {
  if (settings.sound.value) beep();
  const isSeen = document.visibilityState === 'visible' && document.hasFocus();
  if (isSeen || !settings.notifications.value || Notification.permission !== 'granted') return;
  const [first] = fresh as [Question];
  const isOne = fresh.length === 1;
  const hash = isOne ? linkTo(['q', first.question_id]) : '#/';
  notify(
    isOne ? `${visible(first.agent_name)} in ${visible(first.run_id)} asks` : count(fresh.length, 'new question'),
    { body: isOne ? cut(visible(first.question), 200) : '', tag: isOne ? first.question_id : 'forumbus', data: hash },
  );
}

/** @param options `data` is the view to which the notification leads */
function notify(title: string, options: NotificationOptions & { data: string }): void {
  try {
    const notification = new Notification(title, options);
    notification.onclick = () => {
      window.focus();
      location.hash = options.data;
      notification.close();
    };
  } catch {
    // Browsers of phones have notifications of service workers only.
    void registered()
      .then(worker => worker.showNotification(title, options))
      .catch(() => {});
  }
}

/** Asks for the permission when the person switches notifications on. @returns whether they are on */
export async function allowNotifications(): Promise<boolean> {
  if (!('Notification' in window)) return false;
  return (await Notification.requestPermission()) === 'granted';
}

/** A short tone, without a file. */
function beep(): void {
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  volume.gain.setValueAtTime(0.08, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.3);
  tone.frequency.value = 660;
  tone.connect(volume).connect(audio.destination);
  tone.onended = () => void audio.close();
  tone.start();
  tone.stop(audio.currentTime + 0.3);
}
